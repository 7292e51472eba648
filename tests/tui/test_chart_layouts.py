"""What the console remembers from one session to the next."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from textual.pilot import Pilot

from driving import drive, shown
from recorded import write_healthy, write_record
from rlhf_console.runs.fold import RunSummary, fold
from rlhf_console.runs.marks import Marks
from rlhf_console.runs.state_file import MOST_KEYS, StateFile
from rlhf_console.scale import View
from rlhf_console.tui.drawing.chart_options import ChartOptions
from rlhf_console.tui.drawing.places import axes_of, newest_place, place_of, step_at, step_when
from rlhf_console.tui.layouts import Layout, Layouts
from rlhf_sdk.events import MetricsLogged, Started
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.trainer import UserError

LAYOUT = Layout(smoothing=0.9, log=True, axis="wall", pattern="kl", enlarged="KL", hidden=("Reward",))
CHANGES = """
import sys
from rlhf_console.runs.marks import Marks
from rlhf_console.runs.state_file import StateFile
for number in range(40):
    StateFile("both.json").set(f"{sys.argv[1]}{number}", number)
"""


def test_a_layout_comes_back_for_its_plugin_alone() -> None:
    Layouts().keep("ppo", LAYOUT)
    assert (Layouts().of("ppo"), Layouts().of("sft")) == (LAYOUT, Layout())


@pytest.mark.parametrize(
    "content", ['{"ppo": ', "[]", '{"ppo": {"smoothing": 17}}', '{"ppo": {"axis": "moon"}}', '{"ppo": 3}', "\x00\xff"]
)
def test_a_damaged_file_is_said_once_not_used_and_written_anew(content: str) -> None:
    path = StateFile("layouts.json").path
    path.parent.mkdir(parents=True)
    path.write_text(content, encoding="latin-1")
    layouts = Layouts()
    with pytest.raises(UserError, match=r"layouts\.json"):
        layouts.of("ppo")
    assert layouts.of("ppo") == Layout()
    layouts.keep("ppo", LAYOUT)
    assert Layouts().of("ppo") == LAYOUT


def test_two_consoles_at_once_lose_nothing_of_each_other() -> None:
    both = [subprocess.Popen([sys.executable, "-c", CHANGES, name]) for name in ("left", "right")]
    assert [process.wait() for process in both] == [0, 0]
    kept = StateFile("both.json").read()
    assert kept == {f"{name}{number}": number for name in ("left", "right") for number in range(40)}


def test_what_was_not_set_for_long_is_forgotten() -> None:
    file = StateFile("few.json")
    file.path.parent.mkdir(parents=True)
    file.path.write_text(json.dumps({str(number): number for number in range(MOST_KEYS)}))
    file.set("0", "again")
    file.set("new", 1)
    kept = file.read()
    assert len(kept) == MOST_KEYS and kept["0"] == "again" and "1" not in kept


def test_a_folder_that_cannot_be_written_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.raises(UserError, match="can't be written"):
        Layouts().keep("ppo", LAYOUT)


def summary() -> RunSummary:
    updates = (
        MetricsLogged(values={"loss": 0.0, "episode": 64.0 * step}, seconds=10.0, step=step, time=100.0 + 10 * step)
        for step in range(1, 5)
    )
    return fold(RunSummary(), [Started(plugin="ppo", total_steps=4, time=100.0), *updates])


def test_a_step_has_a_place_on_each_axis_and_is_found_there_again() -> None:
    run = summary()
    assert axes_of(run) == ("step", "episode", "wall")
    assert [place_of(3, axis, run) for axis in axes_of(run)] == [3, 192.0, 30.0]
    assert [step_at(place_of(3, axis, run), axis, run) for axis in axes_of(run)] == [3, 3, 3]
    assert (step_at(29.9, "wall", run), step_at(1.0, "wall", run)) == (2, 0)
    assert [newest_place(axis, run) for axis in axes_of(run)] == [4, 256.0, 40.0]
    assert (step_when(125.0, run), step_when(5.0, run)) == (2, 0)


def test_going_to_a_step_moves_what_is_in_sight_only_if_it_must() -> None:
    options, whole = ChartOptions(view=View(40.0, 60.0), cursor=55.0), View(0.0, 100.0)
    assert options.around_cursor(whole) == options
    assert ChartOptions(view=View(40.0, 60.0), cursor=80.0).around_cursor(whole).view == View(70.0, 90.0)
    assert ChartOptions(cursor=80.0).around_cursor(whole).view is None


def test_a_marked_run_has_the_same_place_in_the_next_session(tmp_path: Path) -> None:
    first, second, third = (RunDir(write_record(tmp_path, name)) for name in ("first", "second", "third"))
    marks = Marks()
    for run in (first, second, third):
        marks.turn(run)
    again = Marks()
    again.turn(third)
    again.turn(first)
    assert [again.place_of(name) for name in ("first", "second", "third")] == [0, None, 2]
    again.turn(first)
    StateFile("marks.json").set("second", 2)
    again.turn(second)
    assert again.place_of("second") == 0, "the place that it had is taken"


def test_charts_open_as_they_were_left(tmp_path: Path) -> None:
    write_healthy(tmp_path)

    async def first(pilot: Pilot[None]) -> None:
        await shown(pilot, "▸ Reward (points)")
        await pilot.press("h")
        lines = await shown(pilot, "1 hidden", "▸ KL to the SFT policy")
        assert not any("Reward (points)" in line for line in lines)
        await pilot.press("s", "l", "enter")
        await shown(pilot, "smoothed 0.6", "log", "1 of 3")

    async def again(pilot: Pilot[None]) -> None:
        await shown(pilot, "KL to the SFT policy", "smoothed 0.6", "1 hidden", "1 of 3")
        await pilot.press("escape", "H")
        await shown(pilot, "▸ Reward (points)", "-4 of 4")

    drive(tmp_path, first, run="ppo-healthy")
    drive(tmp_path, again, run="ppo-healthy")
