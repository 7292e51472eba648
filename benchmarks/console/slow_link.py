"""A line of 20 kB a second behind a buffer without end, as SSH is: how soon a key is answered while charts go on."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from benchmarks.console.material import metric_lines, write_run
from benchmarks.console.terminal import CONSOLE, Terminal
from benchmarks.record import record

BYTES_PER_SECOND = 20_000
POINTS, METRICS, TOTAL = 10_000, 6, 16_000
STEPS_A_TICK = 10
KEYS = 20
CHOSEN = "▸"
"""Stands before the heading of the chart that the arrow keys have chosen."""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        run = write_run(root / "runs", "ppo", rows=POINTS, metrics=METRICS, total=TOTAL)
        terminal = Terminal(
            CONSOLE, "ppo", "--runs", str(root / "runs"), state=root / "state", bytes_per_second=BYTES_PER_SECOND
        )
        usable = terminal.seconds_until(lambda text: "Reward (points)" in text and f"step {POINTS}" in text)
        terminal.run_for(4.0)
        answers, backlogs = keys(terminal, run / "events.jsonl")
        terminal.close()
    figures = {
        "bytes_per_second": BYTES_PER_SECOND, "load_average": os.getloadavg()[0], "first_screen_seconds": usable,
        "key_answered_seconds": {"median": sorted(answers)[KEYS // 2], "longest": max(answers)},
        "most_bytes_waiting": max(backlogs),
    }  # fmt: skip
    print(figures)
    record("console-slow-link", figures)


def keys(terminal: Terminal, file: Path) -> tuple[list[float], list[int]]:
    """Seconds until another chart is marked as chosen, and the bytes that wait on the line, for each of some keys."""
    answers, backlogs, step = [], [], POINTS
    with file.open("ab", buffering=0) as stream:
        for number in range(KEYS):
            for _ in range(4):
                stream.write(b"".join(metric_lines(step + 1, step + STEPS_A_TICK, METRICS)))
                step += STEPS_A_TICK
                terminal.run_for(0.23 + 0.01 * (number % 7))
                backlogs.append(terminal.backlog)
            answers.append(seconds_to_answer(terminal, "\x1b[C" if number % 2 == 0 else "\x1b[D"))
    return answers, backlogs


def seconds_to_answer(terminal: Terminal, key: str) -> float:
    before = place(terminal.text)
    terminal.press(key)
    return terminal.seconds_until(lambda text: place(text) not in (before, None))


def place(text: str) -> tuple[int, int] | None:
    """Row and column of the mark."""
    return next(((y, line.index(CHOSEN)) for y, line in enumerate(text.split("\n")) if CHOSEN in line), None)
