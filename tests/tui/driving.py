"""The console driven by keys, without a terminal."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from textual.pilot import Pilot

from rlhf_console.runs.store import find
from rlhf_console.settings import Settings
from rlhf_console.tui.app import DEFAULTS, ConsoleApp

PATIENCE_SECONDS = 30.0
STEP_SECONDS = 0.05


def screen_lines(pilot: Pilot[None]) -> list[str]:
    """What stands on the screen."""
    return ["".join(segment.text for segment in strip) for strip in pilot.app.screen._compositor.render_strips()]


async def shown(pilot: Pilot[None], *wanted: str) -> list[str]:
    """The screen's lines, as soon as it shows all of `wanted`; fails after a while."""
    for _ in range(int(PATIENCE_SECONDS / STEP_SECONDS)):
        await pilot.pause(STEP_SECONDS)
        lines = screen_lines(pilot)
        if all(any(text in line for line in lines) for text in wanted):
            return lines
    screen = "\n".join(screen_lines(pilot))
    raise AssertionError(f"{[text for text in wanted if text not in screen]} not shown:\n{screen}")


def drive(
    root: Path,
    script: Callable[[Pilot[None]], Awaitable[None]],
    *,
    run: str = "",
    size: tuple[int, int] = (120, 40),
    readonly: bool = False,
    settings: Settings = DEFAULTS,
) -> None:
    """Opens the console on `root`, or on one run of it, and follows the script."""

    async def play() -> None:
        app = ConsoleApp(root, find(root, run) if run else None, settings, readonly=readonly)
        async with app.run_test(size=size, notifications=True) as pilot:
            await script(pilot)

    asyncio.run(play())
