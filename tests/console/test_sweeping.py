"""`rlhf sweep`: grids as they are typed, the cells that they make, and what is refused."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from rlhf_console.profiles import merge
from rlhf_console.sweeping import Axis, Cell, difference, named, parse_grid, points_of, split_values
from rlhf_sdk.trainer import UserError

PROFILE = str(Path(__file__).parent / "echo_profile.toml")


def rlhf(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"RLHF_RUNS": str(root), "NO_COLOR": "1"}
    command = [sys.executable, "-m", "rlhf_console", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,2", ["1", "2"]),
        ("[1, 2],[3]", ["[1, 2]", "[3]"]),
        ('"a,b", c', ['"a,b"', "c"]),
        ("{a=1,b=2}", ["{a=1,b=2}"]),
    ],
)
def test_commas_within_brackets_and_quotes_belong_to_the_value(text: str, values: list[str]) -> None:
    assert split_values(text) == values


def test_a_grid_is_every_combination() -> None:
    points = list(points_of(parse_grid(["ppo.kl_coef=0.1,0.2", "ppo.gamma=0.9,1.0"])))
    assert [list(point.values()) for point in points] == [
        ["0.1", "0.9"],
        ["0.1", "1.0"],
        ["0.2", "0.9"],
        ["0.2", "1.0"],
    ]
    assert list(points_of([])) == [{}]
    assert parse_grid(["a.b = 1"]) == [Axis("a.b", ("1",))]


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (["echo.steps=1,,2"], "a value is empty"),
        (["echo.steps="], "a value is empty"),
        (["echo.weight=1,1.0"], "stands there twice"),
        (["echo.steps=1", "echo.steps=2"], "has its values already"),
        (["steps=1"], "expected STAGE.KEY=VALUE"),
    ],
)
def test_grids_that_make_no_sense(grid: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_grid(grid)


def test_what_differs_laid_over_the_base_is_the_other() -> None:
    base = {"a": 1, "b": {"c": 2, "d": {"e": 3}}, "f": None}
    other = {"a": 1, "b": {"c": 4, "d": {"e": 3}}, "f": {"g": 5}}
    assert difference(base, other) == {"b": {"c": 4}, "f": {"g": 5}}
    assert merge(base, difference(base, other)) == other


def test_names_tell_cells_apart() -> None:
    points = [{"ppo.kl_coef": "0.02"}, {"ppo.kl_coef": "a/b"}]
    assert [cell.name for cell in named([Cell("s1", "", point, {}, {}) for point in points])] == [
        "kl_coef-0.02-s1",
        "kl_coef-a-b-s1",
    ]
    alike = [Cell("", "", {"x.y": value}, {}, {}) for value in ("1", "-1")]
    assert [cell.name for cell in named(alike)] == ["cell-1", "cell-2"]


def test_a_sweep_of_pipelines_from_start_to_table(tmp_path: Path) -> None:
    grid = ["--grid", "echo.weight=2", "--seeds", "2", "--slots", "2"]
    done = rlhf(tmp_path, "sweep", "pipeline", "--profile", PROFILE, *grid, "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["results"]["sweep"]["sweep"]["rows"]
    drawn = [random.Random(f"{seed}/{step}").random() for seed in (7, 8) for step in range(3)]
    assert rows["echo.weight=2"]["echo: echo/sum"]["mean"] == pytest.approx(2 * sum(drawn) / 2)
    runs = {run["run"].partition(".")[2]: run for run in json.loads(rlhf(tmp_path, "ls", "--json").stdout)}
    cells = {f"weight-2-s{seed}{stage}" for seed in (7, 8) for stage in ("", ".echo", ".again")}
    assert set(runs) == {"", *cells}
    record = json.loads(rlhf(tmp_path, "show", runs["weight-2-s8.echo"]["run"], "--json").stdout)["record"]
    assert (record["config"]["weight"], record["config"]["seed"]) == (2, 8)
    assert (record["provenance"]["weight"], record["provenance"]["seed"]) == ("--grid", "--seeds")
    assert "echo.weight=2" in rlhf(tmp_path, "show", "sweep").stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--grid", "echo.weigth=1,2"], "Did you mean 'weight'"),
        (["--grid", "ekho.weight=1"], "Did you mean 'echo'"),
        (["--grid", "echo.seed=1,2", "--seeds", "2"], "both would set the seed"),
        (["--grid", "echo.steps=1", "--set", "echo.steps=2"], "by --set and others by --grid"),
        (["--slots", "0"], "a number from 1 on, or auto"),
        (["--nproc", "2"], "'echo' works in one process"),
    ],
)
def test_mistakes_make_no_run(tmp_path: Path, arguments: list[str], words: str) -> None:
    done = rlhf(tmp_path, "sweep", "echo", *arguments)
    assert done.returncode == 2 and words in done.stderr and not list(tmp_path.iterdir())


def test_a_dry_run_lists_the_cells_and_starts_none(tmp_path: Path) -> None:
    done = rlhf(tmp_path, "sweep", "echo", "--grid", "echo.weight=1,2", "--seeds", "2", "--dry-run")
    assert done.returncode == 0 and "4 runs, 1 at a time" in done.stdout and "weight-2-s1" in done.stdout
    assert not list(tmp_path.iterdir())
