"""`rlhf compare`: which sides, in what order, and what is said where there is nothing to compare."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

sys.path.insert(0, str(Path(__file__).parents[1] / "tui"))
from recorded import append, write_record
from rlhf_console.cli.main import app
from rlhf_sdk.events import Sample, encode_line

GOLD = {"a": (1.0, 3.0), "b": (2.0, 1.0), "c": (0.0, 0.5)}
"""Prompt -> gold of the first and of the second policy."""


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    write_record(tmp_path, "demo", plugin="pipeline", config={"stages": {"eval": {}}})
    directory = write_record(tmp_path, "demo.eval", plugin="eval", pipeline="demo", stage="eval")
    for index, policy in enumerate(("sft", "ppo")):
        for prompt, gold in GOLD.items():
            sample = Sample(
                tag=f"eval/{policy}/temperature_1", index=index, prompt=prompt, response=f"{policy} on {prompt}",
                metrics={"gold": gold[index]}, reference="<truth>",
            )  # fmt: skip
            append(directory, "samples.jsonl", encode_line(sample))
    return tmp_path


def rlhf(runs: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["compare", "--runs", str(runs), *arguments])


def pairs(runs: Path, *arguments: str) -> Any:
    said = rlhf(runs, *arguments, "--json")
    assert said.exit_code == 0, said.exception
    return json.loads(said.stdout)


@pytest.mark.parametrize(("sort", "order"), [("gain", "acb"), ("loss", "bca"), ("prompt", "abc")])
def test_the_order_is_that_of_the_gain(sort: str, order: str, runs: Path) -> None:
    found = pairs(runs, "demo", "--sort", sort)
    assert "".join(pair["prompt"] for pair in found["pairs"]) == order
    assert {pair["prompt"]: pair["gain"] for pair in found["pairs"]} == {"a": 2.0, "b": -1.0, "c": 0.5}
    assert found["means"]["eval/ppo/temperature_1"]["gold"] == 1.5


def test_sides_are_found_by_an_end_of_their_names_and_turned(runs: Path) -> None:
    found = pairs(runs, "demo.eval", "--side", "ppo/temperature_1", "--side", "sft/temperature_1", "-n", "1")
    assert found["sides"] == ["eval/ppo/temperature_1", "eval/sft/temperature_1"] and found["prompts"] == 3
    assert [(pair["prompt"], pair["gain"]) for pair in found["pairs"]] == [("b", 1.0)]


def test_the_page_has_every_prompt(runs: Path, tmp_path: Path) -> None:
    assert rlhf(runs, "demo", "--html", str(tmp_path / "pairs.html"), "-n", "1").exit_code == 0
    page = (tmp_path / "pairs.html").read_text()
    assert all(f"ppo on {prompt}" in page for prompt in "abc") and "&lt;truth&gt;" in page
    assert "eval/ppo/temperature_1 (gold 3)" in page


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--side", "temperature_1", "--side", "sft/temperature_1"], "fits 2"),
        (["--side", "eval/sft/temperature_2", "--side", "sft/temperature_1"], "there is none"),
        (["--side", "sft/temperature_1"], "1 given; allowed: two or three"),
    ],
)
def test_a_side_that_is_not_there_is_named(arguments: list[str], words: str, runs: Path) -> None:
    assert words in str(rlhf(runs, "demo", *arguments).exception)


def probed(runs: Path, name: str, gold: float) -> None:
    """Two prompts of the probe, and as many of training that other runs have too."""
    directory = write_record(runs, name, pipeline="demo", stage=name)
    for step in (0, 4):
        for tag in ("rollout", "probe"):
            for index in range(2):
                metrics = {"gold": gold * step + index}
                sample = Sample(tag=tag, step=step, index=index, prompt=f"{tag} {index}", response="", metrics=metrics)
                append(directory, "samples.jsonl", encode_line(sample))


def test_runs_are_compared_on_the_probes_prompts_under_short_names(runs: Path) -> None:
    probed(runs, "demo.ppo", 1.0)
    probed(runs, "demo.harder", 2.0)
    found = pairs(runs, "demo.ppo", "demo.harder")
    assert found["sides"] == ["ppo probe newest", "harder probe newest"]
    assert [(pair["prompt"], pair["gain"]) for pair in found["pairs"]] == [("probe 0", 4.0), ("probe 1", 4.0)]
    said = " ".join(rlhf(runs, "demo.ppo", "demo.harder").stdout.split())
    assert (
        "2 prompts that all of them answered; gain: gold of harder probe newest less that of ppo probe newest" in said
    )


def test_runs_without_common_prompts_say_so(runs: Path) -> None:
    write_record(runs, "empty", plugin="ppo")
    assert "no two sides with samples" in str(rlhf(runs, "empty").exception)


def test_prompts_that_only_one_side_has_are_listed(runs: Path, tmp_path: Path) -> None:
    more = Sample(tag="eval/ppo/temperature_1", index=3, prompt="d\nis asked of ppo alone", response="", metrics={})
    append(runs / "demo.eval", "samples.jsonl", encode_line(more))
    left_out = {"eval/sft/temperature_1": [], "eval/ppo/temperature_1": [more.prompt]}
    assert pairs(runs, "demo")["left_out"] == left_out and pairs(runs, "demo")["prompts"] == 3
    said = rlhf(runs, "demo").stdout
    assert "1 prompts of eval/ppo/temperature_1 that not all of them answered:\n  d is asked of ppo alone\n" in said
    assert rlhf(runs, "demo", "--html", str(tmp_path / "page.html")).exit_code == 0
    assert "is asked of ppo alone" in (tmp_path / "page.html").read_text()
