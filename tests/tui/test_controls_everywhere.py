"""What is asked of a run, from every screen that has one in focus: the files that its worker will find."""

from collections import Counter
from pathlib import Path

import msgspec
from textual.pilot import Pilot

from driving import drive, screen_lines, shown
from recorded_runs import write_paused
from rlhf_console.tui.screens.run import VIEWS
from rlhf_sdk.commands import AnyCommand

WISHES = ["p", "c", "n", "r", "y"]
ASKED = Counter({"resume": 1, "checkpoint": 1, "sample": 1, "pause released": 1})
SIZE = (80, 24)


def asked_of(run: Path) -> Counter[str]:
    """How often each was asked, by the files that were left."""
    commands = [msgspec.json.decode(file.read_bytes(), type=AnyCommand) for file in (run / "commands").glob("*.json")]
    return Counter(
        str(command.__struct_config__.tag) + (" released" if getattr(command, "release", False) else "")
        for command in commands
    )


async def ask(pilot: Pilot[None], run: Path, times: int) -> None:
    """Every wish, and waits until the files are there."""
    await pilot.press(*WISHES)
    for _ in range(100):
        await pilot.pause(0.05)
        if asked_of(run) == Counter({name: count * times for name, count in ASKED.items()}):
            return
    raise AssertionError(f"{asked_of(run)} after {times} rounds:\n" + "\n".join(screen_lines(pilot)))


def test_every_screen_with_a_run_in_focus_asks_it(tmp_path: Path) -> None:
    run = write_paused(tmp_path)

    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "‖ paused")
        await ask(pilot, run, 1)
        await pilot.press("enter")
        await shown(pilot, "step 7/20")
        for number, view in enumerate(VIEWS.values(), 1):
            await pilot.press(str(number))
            await shown(pilot, view.TITLE)
            await ask(pilot, run, number + 1)
        await pilot.press("d")
        await shown(pilot, "no samples yet")
        await ask(pilot, run, len(VIEWS) + 2)
        await pilot.press("x", "y")
        await shown(pilot, "stop: requested")
        assert asked_of(run)["stop"] == 1

    drive(tmp_path, script, size=SIZE)


def test_a_question_that_is_denied_asks_nothing(tmp_path: Path) -> None:
    run = write_paused(tmp_path)

    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "‖ paused")
        for answer in ("n", "escape", "q"):
            await pilot.press("x")
            await shown(pilot, "Stop ppo-paused?")
            await pilot.press(answer)
            await pilot.pause()
        assert asked_of(run) == Counter()

    drive(tmp_path, script, size=SIZE)


def test_readonly_holds_on_every_screen(tmp_path: Path) -> None:
    run = write_paused(tmp_path)
    before = sorted(path for path in tmp_path.rglob("*"))

    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "‖ paused", "read only")
        for way in ([], ["enter"], ["2"], ["7"], ["d"]):
            await pilot.press(*way)
            await pilot.pause(0.1)
            assert not any("Pause/Resume" in line for line in screen_lines(pilot))
            await pilot.press(*WISHES, "x", "e", "m")
        assert asked_of(run) == Counter()

    drive(tmp_path, script, size=SIZE, readonly=True)
    assert sorted(path for path in tmp_path.rglob("*")) == before
