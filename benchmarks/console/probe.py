"""The console with a clock inside: `python -m benchmarks.console.probe RUNS RUN OUT` tells how late its loop was.

OUT is JSON: lateness of a timer of 10 ms in seconds, and how many points of a metric are in the store.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from rlhf_console.runs.store import LiveRun, find
from rlhf_console.tui.app import ConsoleApp

TICK_SECONDS = 0.01
WARM_UP_SECONDS = 3.0


class Probed(ConsoleApp):
    """Measures after a while, when it has started."""

    def __init__(self, root: Path, run: LiveRun) -> None:
        super().__init__(root, run)
        self.late: list[float] = []

    def on_mount(self) -> None:
        self.run_worker(self._measure())

    async def _measure(self) -> None:
        await asyncio.sleep(WARM_UP_SECONDS)
        while True:
            due = time.monotonic() + TICK_SECONDS
            await asyncio.sleep(TICK_SECONDS)
            self.late.append(time.monotonic() - due)


def main(root: str, run_id: str, out: str) -> None:
    run = find(Path(root), run_id)
    app = Probed(Path(root), run)
    app.run()
    late = sorted(app.late)
    share = {f"p{percent}": late[len(late) * percent // 100] for percent in (50, 95, 99)}
    points = max(len(series.values) for series in run.catch_up().summary.metrics.values())
    Path(out).write_text(json.dumps({"late_seconds": share | {"longest": late[-1]}, "points": points}))


if __name__ == "__main__":
    main(*sys.argv[1:])
