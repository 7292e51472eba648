"""Writes a picture of the run screen: `python docs/picture.py RUN [--runs DIR]` makes docs/pictures/run-screen.svg."""

from __future__ import annotations

import argparse
import asyncio
import re
from pathlib import Path

from rlhf_console.runs.store import find
from rlhf_console.tui.app import ConsoleApp
from rlhf_sdk.run_root import run_root

SIZE = (120, 40)
SETTLE_SECONDS = 2.0
FONT_FACES = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
"""They would make readers fetch fonts from elsewhere; the browser's own monospace does."""
PICTURE = Path(__file__).parent / "pictures" / "run-screen.svg"


async def take(root: Path, run: str) -> str:
    """The screen of `run` as SVG."""
    app = ConsoleApp(root, find(root, run))
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause(SETTLE_SECONDS)
        return FONT_FACES.sub("", app.export_screenshot(title=f"rlhf-console {run}"))


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a picture of the run screen.")
    parser.add_argument("run")
    parser.add_argument("--runs", default="")
    options = parser.parse_args()
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(asyncio.run(take(run_root(options.runs), options.run)))


if __name__ == "__main__":
    main()
