"""Each way a run can go, replayed: what a person is told of it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from driving import drive, shown
from recorded import write_healthy, write_spoiled
from recorded_runs import write_crash, write_kl_explosion, write_out_of_memory, write_paused

Writer = Callable[[Path], Path]

STORIES: dict[Writer, tuple[str, ...]] = {
    write_healthy: ("✓ finished", "step 26/26"),
    write_kl_explosion: ("✗ failed", "step 40/200", "policy loss is not finite at update 40", "×"),
    write_out_of_memory: ("out of memory in update/backward", "step 9/100", "Device memory, peak"),
    write_crash: ("✗ failed", "step 12/50", "KeyError: 'prompt'", "┴"),
    write_paused: ("paused", "step 7/20"),
    write_spoiled: ("✗ failed", "\\x1b[31mred"),
}


@pytest.mark.parametrize("write", STORIES, ids=lambda write: write.__name__)
def test_a_recorded_run_tells_its_story(tmp_path: Path, write: Writer) -> None:
    directory = write(tmp_path)

    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, *STORIES[write])

    drive(tmp_path, script, run=directory.name)


def test_alerts_and_lights_of_an_explosion(tmp_path: Path) -> None:
    write_kl_explosion(tmp_path)

    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "step 40/200")
        await pilot.press("4")
        await shown(pilot, "✗ fail", "kl_level")
        await pilot.press("5")
        await shown(pilot, "KL is 96 nats a sequence, target 6", "KL is 768 nats", "raise kl_coef")

    drive(tmp_path, script, run="ppo-explosion")


def test_a_recorded_run_has_the_same_bytes_each_time(tmp_path: Path) -> None:
    for write in (write_kl_explosion, write_out_of_memory, write_crash):
        first, second = write(tmp_path / "first"), write(tmp_path / "second")
        for file in filter(Path.is_file, first.iterdir()):
            assert file.read_bytes() == (second / file.name).read_bytes(), file.name
