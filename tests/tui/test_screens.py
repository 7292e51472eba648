"""The console driven by keys, on recorded runs, at three sizes."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from textual.pilot import Pilot

from rlhf_console.tui.app import ConsoleApp
from rlhf_console.tui.chart import MetricChart

SIZES = [(80, 24), (120, 40), (200, 55)]


def screen_text(pilot: Pilot[None]) -> str:
    strips = pilot.app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in strips)


async def settle(pilot: Pilot[None], wanted: str) -> str:
    """The screen, as soon as it shows `wanted` (at most about five seconds)."""
    for _ in range(50):
        await pilot.pause(0.1)
        if wanted in (text := screen_text(pilot)):
            return text
    return screen_text(pilot)


@pytest.mark.parametrize("size", SIZES)
def test_runs_then_charts_then_samples_then_back(root: Path, size: tuple[int, int]) -> None:
    async def drive() -> None:
        async with ConsoleApp(root).run_test(size=size) as pilot:
            listed = await settle(pilot, "ppo-spoiled")
            assert "2 runs, 0 at work" in listed
            assert "26/26" in listed
            while pilot.app.screen.query_one("RunTable").selected != listed_index(listed, "ppo-healthy"):  # type: ignore[attr-defined]
                await pilot.press("down" if listed_index(listed, "ppo-healthy") else "up")
            await pilot.press("enter")
            charts = await settle(pilot, "nats/sequence") if size[0] > 80 else await settle(pilot, "Reward")
            assert "Reward (points)" in charts
            assert "step 26" in charts
            assert any("\u2800" < character <= "\u28ff" for character in charts)
            await pilot.press("s")
            assert "should i call her" in await settle(pilot, "should i call her")
            await pilot.press("escape")
            assert "2 runs" in await settle(pilot, "2 runs")

    asyncio.run(drive())


def listed_index(text: str, run: str) -> int:
    lines = [line for line in text.splitlines() if line.startswith("ppo-")]
    return next(index for index, line in enumerate(lines) if line.startswith(run))


def test_nan_is_shown_and_hostile_text_is_escaped(root: Path) -> None:
    async def drive() -> None:
        app = ConsoleApp(root)
        async with app.run_test(size=(120, 40)) as pilot:
            listed = await settle(pilot, "ppo-spoiled")
            for _ in range(listed_index(listed, "ppo-spoiled")):
                await pilot.press("down")
            await pilot.press("enter")
            assert "╳" in await settle(pilot, "╳")
            await pilot.press("s")
            text = await settle(pilot, "not markup")
            assert "\\x1b[31mred" in text
            assert "[bold]not markup[/bold]" in text
            assert "\u202e" not in text

    asyncio.run(drive())


def test_a_resize_storm_leaves_a_working_screen(root: Path) -> None:
    async def drive() -> None:
        async with ConsoleApp(root).run_test(size=(120, 40)) as pilot:
            await settle(pilot, "ppo-healthy")
            await pilot.press("enter")
            await settle(pilot, "Entropy")
            for size in [(80, 24), (1, 1), (200, 55), (20, 5), (120, 40)]:
                await pilot.resize_terminal(*size)
            assert "Entropy" in await settle(pilot, "Entropy")
            assert pilot.app.screen.query(MetricChart)

    asyncio.run(drive())


def test_an_empty_root_says_how_to_start(tmp_path: Path) -> None:
    async def drive() -> None:
        async with ConsoleApp(tmp_path).run_test(size=(80, 24)) as pilot:
            assert "rlhf demo" in await settle(pilot, "rlhf demo")

    asyncio.run(drive())


def test_the_console_never_imports_torch_and_refuses_a_pipe() -> None:
    code = (
        "import rlhf_console.tui.app, sys; print([m for m in ('torch', 'transformers', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    refused = subprocess.run(
        [sys.executable, "-c", "from rlhf_console.tui.main import main; main()"], capture_output=True, text=True
    )
    assert refused.returncode == 2
    assert "rlhf watch" in refused.stderr
