"""The config of one run beside that of another."""

from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from driving import drive, shown
from recorded import append_events, write_record
from rlhf_console.runs.glance import other_headings
from rlhf_console.tui.drawing.config import difference_rows
from rlhf_sdk.events import Started, StateChanged
from rlhf_sdk.run_dir import RunDir

HERE = {"kl_coef": 0.05, "optimizer": {"lr": 1e-4, "eps": 1e-5}, "only_here": None}
THERE = {"kl_coef": 0.2, "optimizer": {"lr": 1e-4, "eps": 1e-6}, "only_there": "x"}


def write_run(root: Path, name: str, **fields: Any) -> RunDir:
    directory = write_record(root, name, **fields)
    append_events(directory, [Started(plugin="ppo", total_steps=9), StateChanged(state="running")])
    return RunDir(directory)


def test_only_what_differs_is_shown_and_what_one_side_lacks_is_said(tmp_path: Path) -> None:
    here = write_run(tmp_path, "here", config=HERE, seed=1, profile="demo").record()
    there = write_run(tmp_path, "there", config=THERE, seed=2, profile="demo").record()
    rows = ["".join(cell for cell, _ in row).split() for row in difference_rows(here, there, 100)]
    assert rows == [
        ["4", "keys", "differ"],
        ["here", "there"],
        [],
        ["(seed)", "1", "2"],
        ["kl_coef", "0.05", "0.2"],
        ["only_here", "null", "(not", "there)"],
        ["only_there", "(not", "there)", "x"],
        ["optimizer.eps", "1e-05", "1e-06"],
    ]


def test_a_damaged_run_is_left_out_of_the_others(tmp_path: Path) -> None:
    run = write_run(tmp_path, "here")
    write_run(tmp_path, "good")
    (write_run(tmp_path, "bad").path / "run.json").write_text("{")
    assert [heading.id for heading in other_headings(run)] == ["good"]


def test_a_run_of_the_same_plugin_is_offered_first_and_escape_leads_back(tmp_path: Path) -> None:
    write_run(tmp_path, "here", config=HERE, created=1.0)
    write_run(tmp_path, "cousin", plugin="sft", config=THERE, created=9.0)
    write_run(tmp_path, "sister", config=THERE, created=2.0)

    async def script(pilot: Pilot[None]) -> None:
        await pilot.press("7")
        await shown(pilot, "keys have their defaults")
        await pilot.press("b")
        lines = await shown(pilot, "Config of here beside that of", "sister  ppo", "cousin  sft")
        places = [next(y for y, line in enumerate(lines) if name in line) for name in ("sister ", "cousin ")]
        assert places == sorted(places)
        await pilot.press("enter")
        await shown(pilot, "beside another", "sister", "4 keys differ", "optimizer.eps")
        await pilot.press("escape")
        await shown(pilot, "keys have their defaults")

    drive(tmp_path, script, run="here")


def test_alone_in_its_folder_a_run_has_nothing_beside_it(tmp_path: Path) -> None:
    write_run(tmp_path, "here", config=HERE)

    async def script(pilot: Pilot[None]) -> None:
        await pilot.press("7")
        await shown(pilot, "keys have their defaults")
        await pilot.press("b")
        await shown(pilot, "there is no other run")

    drive(tmp_path, script, run="here")
