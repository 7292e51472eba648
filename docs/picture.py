"""Writes the pictures of the console: `python docs/picture.py PIPELINE [--runs DIR]` makes docs/pictures/*.svg.

PIPELINE is a finished `rlhf demo`.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from rlhf_console.runs.store import find
from rlhf_console.tui.app import ConsoleApp
from rlhf_console.tui.outside import without_fonts
from rlhf_sdk.run_root import run_root

SIZE = (120, 40)
SETTLE_SECONDS = 2.0
PICTURES = Path(__file__).parent / "pictures"
SCENES: dict[str, tuple[str, list[str]]] = {
    "runs-screen": ("", []),
    "run-screen": (".ppo", []),
    "samples-screen": (".ppo", ["2", "f", "f", "down", "h", "right", "right"]),
    "memory-screen": (".ppo", ["3"]),
    "checks-screen": (".ppo", ["4"]),
    "compare-screen": (".eval", ["d"]),
}
"""By file: which stage's screen (none: the list of runs), and the keys that lead to it."""


async def take(root: Path, run: str, keys: list[str]) -> str:
    """One screen as SVG."""
    app = ConsoleApp(root, find(root, run) if run else None)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause(SETTLE_SECONDS)
        for key in keys:
            await pilot.press(key)
        await pilot.pause(SETTLE_SECONDS)
        return without_fonts(app.export_screenshot(title=f"rlhf-console {run}".strip()))


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the pictures of the console.")
    parser.add_argument("pipeline")
    parser.add_argument("--runs", default="")
    options = parser.parse_args()
    PICTURES.mkdir(exist_ok=True)
    root = run_root(options.runs)
    pipeline = find(root, options.pipeline).record.id
    for name, (stage, keys) in SCENES.items():
        run = f"{pipeline}{stage}" if stage else ""
        (PICTURES / f"{name}.svg").write_text(asyncio.run(take(root, run, keys)))


if __name__ == "__main__":
    main()
