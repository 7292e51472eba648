"""Somebody drags the corner of the window while a run works."""

import random
from pathlib import Path

import msgspec
from textual.pilot import Pilot

from driving import drive, screen_lines, shown
from recorded import append, ppo_update, write_record
from rlhf_sdk.events import Started, StateChanged, encode_line

RESIZES, STEPS = 200, 50


def write_live(root: Path) -> Path:
    """A run whose first events are there."""
    directory = write_record(root, "live")
    append(directory, "events.jsonl", encode_line(Started(plugin="ppo", total_steps=STEPS, seq=1)))
    append(directory, "events.jsonl", encode_line(StateChanged(state="running", seq=2)))
    return directory


def go_on(directory: Path, step: int) -> None:
    """The worker's next update."""
    for number, event in enumerate(ppo_update(step)):
        numbered = msgspec.structs.replace(event, seq=2 * step + 1 + number)
        append(directory, "events.jsonl", encode_line(numbered))


def test_the_app_outlives_a_storm_of_resizes_while_events_come(tmp_path: Path) -> None:
    directory, chance = write_live(tmp_path), random.Random(5)

    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, f"step 0/{STEPS}")
        for number in range(RESIZES):
            if number % (RESIZES // STEPS) == 0:
                go_on(directory, number // (RESIZES // STEPS) + 1)
            width, height = chance.choice([(1, 1), (2, 60), (150, 3), (chance.randint(1, 110), chance.randint(1, 30))])
            await pilot.resize_terminal(width, height)
            if number % 20 == 0:
                await pilot.press(str(1 + number // 20 % 8))
        await pilot.press("1")
        await pilot.resize_terminal(100, 30)
        await shown(pilot, f"step {STEPS}/{STEPS}", "KL to the SFT policy", "2.500")
        assert all(len(line) == 100 for line in screen_lines(pilot)) and len(screen_lines(pilot)) == 30

    drive(tmp_path, script, run="live", size=(80, 24))
