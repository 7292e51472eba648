"""The list of runs: filter, order, marks, archive, delete, launch, keys."""

from pathlib import Path

import pytest
from textual.pilot import Pilot

from driving import drive, screen_lines, shown
from recorded import write_healthy, write_pipeline, write_record
from rlhf_console.runs.arranging import Arrangement
from rlhf_console.runs.glance import Glance, read_heading
from rlhf_console.runs.marks import MOST, Marks
from rlhf_console.runs.removing import ARCHIVE, archive, delete
from rlhf_console.runs.sweep_tree import listed_id
from rlhf_sdk import launch
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_root import list_runs
from rlhf_sdk.states import State
from rlhf_sdk.trainer import UserError


def glance(root: Path, run_id: str, state: State, **fields: str) -> Glance:
    directory = RunDir(write_record(root, run_id, **fields))
    return Glance(directory, read_heading(directory), state)


def test_a_filter_has_words_that_must_and_must_not_be_there(tmp_path: Path) -> None:
    runs = [
        glance(tmp_path, "a-1", State.RUNNING, plugin="ppo", profile="tldr"),
        glance(tmp_path, "b-2", State.FAILED, plugin="ppo"),
        glance(tmp_path, "c-3", State.RUNNING, plugin="sft"),
    ]

    def found(words: str) -> list[str]:
        return [listed_id(run) for run in Arrangement(words=words).arranged(runs).runs]

    assert sorted(found("ppo")) == ["a-1", "b-2"]
    assert found("ppo running") == ["a-1"]
    assert found("PPO !tldr") == ["b-2"]
    assert found("nothing like it") == []
    assert [listed_id(run) for run in Arrangement(order="state").arranged(runs).runs] == ["b-2", "a-1", "c-3"]


def test_marks_keep_their_places_and_there_are_three(tmp_path: Path) -> None:
    marks, runs = Marks(), [RunDir(tmp_path / name) for name in "abcd"]
    for run in runs:
        marks.turn(run)
    assert marks.runs == runs[:MOST] and marks.place_of("d") is None
    marks.turn(runs[1])
    marks.turn(runs[3])
    assert [marks.place_of(name) for name in "abcd"] == [0, None, 2, 1]


def test_archive_moves_a_pipeline_with_its_stages_and_delete_leaves_nothing(tmp_path: Path) -> None:
    write_pipeline(tmp_path)
    for name in ("demo", "demo.ppo", "demo.sft"):
        (tmp_path / name / "exit.json").unlink(missing_ok=True)
        (tmp_path / name / "status.json").unlink(missing_ok=True)
    write_healthy(tmp_path, "demolition")
    archive(RunDir(tmp_path / "demo"))
    assert sorted(path.name for path in (tmp_path / ARCHIVE).iterdir()) == ["demo", "demo.ppo", "demo.sft"]
    assert [run.id for run in list_runs(tmp_path)] == ["demolition"]
    delete(RunDir(tmp_path / "demolition"))
    assert [path.name for path in tmp_path.iterdir()] == [ARCHIVE]


def test_a_run_at_work_and_a_link_are_left_alone(tmp_path: Path) -> None:
    run = launch.create_run(tmp_path, plugin="echo", config={"steps": 1000, "delay_seconds": 0.05})
    launch.start(run)
    with pytest.raises(UserError, match="stop it first"):
        delete(run)
    from rlhf_sdk.commands import Stop

    launch.request(run, Stop())
    launch.wait(run)
    outside = tmp_path / "outside"
    run.path.rename(outside)
    (tmp_path / "linked").symlink_to(outside)
    with pytest.raises(UserError, match="link"):
        delete(RunDir(tmp_path / "linked"))
    assert (outside / "run.json").exists()


def test_filter_mark_and_archive_with_the_keyboard(tmp_path: Path) -> None:
    write_healthy(tmp_path, "keep-me")
    write_healthy(tmp_path, "put-away")

    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "keep-me", "put-away")
        await pilot.press("slash", *"away", "enter")
        await shown(pilot, "/away", "put-away")
        assert "keep-me" not in "".join(screen_lines(pilot))
        await pilot.press("a")
        await shown(pilot, "Archive put-away?")
        await pilot.press("y", "escape")
        await shown(pilot, "1 runs", "keep-me")
        assert (tmp_path / ARCHIVE / "put-away").is_dir()

    drive(tmp_path, script, size=(80, 24))


def test_launching_a_changed_echo_from_the_form(tmp_path: Path) -> None:
    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "no runs yet")
        await pilot.press("l")
        await shown(pilot, "What to run", "ppo", "demo")
        await pilot.press("end")
        lines = await shown(pilot, "echo")
        for _ in lines:
            if await on_echo(pilot):
                break
            await pilot.press("up")
        await pilot.press("enter")
        await shown(pilot, "echo.steps", "as it stands", "plugin 'echo' has no memory plan")
        await pilot.press("slash", *"steps", "enter", "enter", "home", "ctrl+k", *"3", "enter")
        await shown(pilot, "* echo.steps", "was 10", "--set", "1 changed")
        await pilot.press("enter", "home", "ctrl+k", *"many", "enter")
        await shown(pilot, 'steps = "many": must be a whole number >= 1')
        await pilot.press("f7")
        await shown(pilot, "plugin 'echo' has no check")
        await pilot.press("f5")
        await shown(pilot, "Start echo?", "echo.steps = 3")
        await pilot.press("y")
        await shown(pilot, "1 runs", "3/3", "finished")

    drive(tmp_path, script)


async def on_echo(pilot: Pilot[None]) -> bool:
    from rlhf_console.runs.launching import Choice
    from rlhf_console.tui.widgets.pick_list import PickList

    return pilot.app.screen.query_one("#choices", PickList).item == Choice("echo", "")


def test_the_help_has_the_keys_of_where_one_is(tmp_path: Path) -> None:
    write_healthy(tmp_path)

    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "ppo-healthy")
        await pilot.press("question_mark")
        await shown(pilot, "Launch", "Archive", "Checkpoint", "Mark")
        await pilot.press("escape", "enter")
        await shown(pilot, "Reward (points)")
        await pilot.press("question_mark")
        lines = await shown(pilot, "Smooth", "Zoom in", "Stop")
        assert "Archive" not in "".join(lines)

    drive(tmp_path, script)


def test_the_palette_does_what_the_key_does(tmp_path: Path) -> None:
    write_healthy(tmp_path)

    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "Reward (points)")
        await pilot.press("ctrl+p")
        await pilot.pause(0.5)
        await pilot.press(*"smooth")
        await pilot.pause(1.0)
        await pilot.press("enter")
        await shown(pilot, "smoothed 0.6")

    drive(tmp_path, script, run="ppo-healthy")
