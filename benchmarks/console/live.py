"""Six charts of 10 000 points while the run goes on: CPU, bytes to the terminal, and how old what is seen is."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from benchmarks.console.material import metric_lines, write_run
from benchmarks.console.terminal import CONSOLE, Terminal
from benchmarks.record import record

POINTS, CHARTS, TOTAL = 10_000, 6, 16_000
SECONDS = 20
RATES = (2, 20)
"""Steps a second; the screen is drawn twice a second."""
SEEN = 15


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        run = write_run(root / "runs", "ppo", rows=POINTS, metrics=CHARTS, total=TOTAL)
        terminal = Terminal(CONSOLE, "ppo", "--runs", str(root / "runs"), state=root / "state")
        terminal.seconds_until(lambda text: "Reward (points)" in text and f"step {POINTS}" in text)
        terminal.run_for(3.0)
        step, live = POINTS, {}
        for rate in RATES:
            live[f"{rate}_steps_a_second"] = cost(terminal, run / "events.jsonl", step, rate)
            step += rate * SECONDS
        delays = sorted(seconds_to_screen(terminal, run / "events.jsonl", step + number) for number in range(SEEN))
        terminal.close()
    figures = {
        "points": POINTS, "charts": CHARTS, "load_average": os.getloadavg()[0], "live": live,
        "event_to_screen_seconds": {"median": delays[SEEN // 2], "longest": delays[-1]},
    }  # fmt: skip
    print(figures)
    record("console-live", figures)


def cost(terminal: Terminal, file: Path, step: int, rate: int) -> dict[str, float]:
    """What following costs for `SECONDS`, a few steps each half second."""
    before, sent, began = terminal.cpu_seconds, terminal.received, time.monotonic()
    with file.open("ab", buffering=0) as stream:
        for _ in range(SECONDS * 2):
            stream.write(b"".join(metric_lines(step + 1, step + rate // 2, CHARTS)))
            step += rate // 2
            terminal.run_for(0.5)
    elapsed = time.monotonic() - began
    return {
        "cpu_percent": 100 * (terminal.cpu_seconds - before) / elapsed,
        "kib_per_second": (terminal.received - sent) / 1024 / elapsed,
    }


def seconds_to_screen(terminal: Terminal, file: Path, step: int) -> float:
    """From the moment that a step is in the file until its number stands on the screen."""
    terminal.run_for(0.1 + 0.037 * (step % 10))
    with file.open("ab", buffering=0) as stream:
        stream.write(b"".join(metric_lines(step + 1, step + 1, CHARTS)))
    return terminal.seconds_until(lambda text: f"step {step + 1}/" in text)
