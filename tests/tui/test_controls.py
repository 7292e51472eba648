"""Keys that reach a run: real processes, and what they answer."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.pilot import Pilot

from driving import drive, screen_lines, shown
from recorded import write_healthy
from rlhf_console import plugins
from rlhf_console.runs.sent_commands import SHOWN_SECONDS, SentCommands
from rlhf_console.runs.values import LiveValue
from rlhf_console.tui.widgets.pick_list import PickList
from rlhf_sdk import launch
from rlhf_sdk.commands import Checkpoint, Stop
from rlhf_sdk.events import CommandAcknowledged, encode_line
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.states import ENDED, State


@pytest.fixture
def echo(tmp_path: Path) -> Iterator[RunDir]:
    config = plugins.validate("echo", {"steps": 5000, "delay_seconds": 0.05})
    run = launch.create_run(tmp_path, plugin="echo", config=config, name="talk")
    launch.start(run)
    yield run
    if run.state() not in ENDED:
        launch.request(run, Stop())
        launch.wait(run)


def test_a_run_is_held_sampled_changed_stopped_and_gone_on_with(echo: RunDir) -> None:
    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "▶ running")
        await pilot.press("p")
        await shown(pilot, "✓ pause: requested → done", "‖ paused")
        await pilot.press("n")
        await shown(pilot, "✓ sample: requested → done")
        await pilot.press("p")
        await shown(pilot, "✓ resume: requested → done", "▶ running")
        await pilot.press("c")
        await shown(pilot, "✓ checkpoint: requested → done")
        await pilot.press("x")
        await shown(pilot, f"Stop {echo.id}?", "y Yes")
        await pilot.press("n")
        await pilot.pause()
        assert echo.state() is State.RUNNING
        await pilot.press("x", "y")
        await shown(pilot, "■ stopped")
        await pilot.press("p")
        await shown(pilot, "▶ running")
        status = echo.status()
        assert status is not None and status.attempt == 2

    drive(echo.root, script, run="talk")


async def choose(pilot: Pilot[None], key: str) -> None:
    """Moves the cursor to a value."""
    values: PickList[LiveValue] = pilot.app.screen.query_one("#values", PickList)
    while values.item is not None and values.item.key != key:
        await pilot.press("down")


def test_a_live_value_is_set_and_one_out_of_range_is_refused(echo: RunDir) -> None:
    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "▶ running")
        await pilot.press("e")
        await shown(pilot, "weight", "delay_seconds", "allowed:")
        await choose(pilot, "weight")
        await pilot.press("enter", "home", "ctrl+k", *"2.5", "enter")
        await shown(pilot, f"Set weight = 2.5 in {echo.id}?", "It is 1.0 now.")
        await pilot.press("y")
        await shown(pilot, "set weight = 2.5: requested → done")
        await pilot.press("7")
        await shown(pilot, "→ 2.5 set since")
        await pilot.press("e")
        await shown(pilot, "was 1.0")
        await choose(pilot, "weight")
        await pilot.press("enter", "home", "ctrl+k", *"99", "enter")
        await shown(pilot, "weight = 99: must be")
        await pilot.press("escape", "escape")
        await shown(pilot, "set since")
        assert len(list(echo.commands.iterdir())) == 0

    drive(echo.root, script, run="talk")


def test_with_readonly_no_key_reaches_a_run(echo: RunDir) -> None:
    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "▶ running")
        await pilot.press("p", "c", "n", "e", "r", "x")
        await pilot.pause(0.5)
        assert "requested" not in "".join(screen_lines(pilot)) and echo.state() is State.RUNNING
        assert not list(echo.commands.iterdir())

    drive(echo.root, script, run="talk", readonly=True)


def test_a_command_to_a_finished_run_is_refused_in_words(tmp_path: Path) -> None:
    write_healthy(tmp_path)

    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "✓ finished")
        await pilot.press("c")
        await shown(pilot, "✗ checkpoint: refused")

    drive(tmp_path, script)


def test_a_command_is_followed_until_a_while_after_its_last_word(echo: RunDir) -> None:
    now = [0.0]
    sent = SentCommands(clock=lambda: now[0])
    asked = sent.send(echo, Checkpoint(), "checkpoint")
    deadline = time.monotonic() + 20
    while asked.settled is None and time.monotonic() < deadline:
        sent.follow()
        time.sleep(0.02)
    assert asked.outcome == "done" and asked.message.startswith("step-")
    now[0] = SHOWN_SECONDS - 1
    sent.follow()
    assert sent.newest_first == [asked]
    now[0] = SHOWN_SECONDS + 1
    sent.follow()
    assert sent.newest_first == []


def test_an_answer_to_somebody_else_is_not_ours(tmp_path: Path) -> None:
    directory = write_healthy(tmp_path)
    run, sent = RunDir(directory), SentCommands()
    waiting = sent._new(run, "pause")
    waiting.command_id = "mine"
    answer = CommandAcknowledged(command_id="theirs", command="pause", outcome="done", seq=999)
    with (directory / "events.jsonl").open("ab") as stream:
        stream.write(encode_line(answer))
    sent.follow()
    assert waiting.outcome == "requested"
