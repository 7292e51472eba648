"""Opening a run of a million metric rows: from the key to the first screen, and until everything is drawn."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from benchmarks.console.material import write_run
from benchmarks.console.terminal import CONSOLE, Terminal
from benchmarks.record import record

SHAPES = {"1 000 000 x 1": (1_000_000, 1), "1 000 000 x 6": (1_000_000, 6), "50 000 x 20": (50_000, 20)}
"""Rows and values in each."""
TRIES = 3


def main() -> None:
    figures = {}
    for name, (rows, metrics) in SHAPES.items():
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            run = write_run(root / "runs", "ppo", rows=rows, metrics=metrics)
            tries = [once(root, rows) for _ in range(TRIES)]
            figures[name] = {key: min(each[key] for each in tries) for key in tries[0]}
            figures[name]["file_mib"] = (run / "events.jsonl").stat().st_size / 2**20
        print(f"{name}: " + ", ".join(f"{key} {value:.3g}" for key, value in figures[name].items()))
    record("console-long", {"tries": TRIES, "load_average": os.getloadavg()[0], "rows_x_values": figures})


def once(root: Path, rows: int) -> dict[str, float]:
    terminal = Terminal(CONSOLE, "--runs", str(root / "runs"), state=root / "state")
    terminal.seconds_until(lambda text: "1 runs" in text)
    terminal.run_for(2.0)
    cpu, rss = terminal.cpu_seconds, terminal.rss_bytes
    terminal.press("\r")
    first = terminal.seconds_until(lambda text: "Reward (points)" in text)
    drawn = terminal.cpu_seconds - cpu
    whole = first + terminal.seconds_until(lambda text: f"step {rows}/{rows}" in text and "to go" not in text)
    found = {
        "first_screen_seconds": first,
        "first_screen_cpu_seconds": drawn,
        "complete_seconds": whole,
        "complete_cpu_seconds": terminal.cpu_seconds - cpu,
        "more_rss_mib": (terminal.rss_bytes - rss) / 2**20,
    }
    terminal.close()
    return found
