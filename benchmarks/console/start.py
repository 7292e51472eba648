"""From the shell to the first screen: the list of runs, and a run with charts; each in a process of its own."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from benchmarks.console.material import write_run
from benchmarks.console.terminal import CONSOLE, Terminal
from benchmarks.record import record

TRIES = 5
SCREENS = {"list": ([], "1 runs"), "run": (["ppo-10k"], "Reward (points)")}
"""What is opened, and a text that stands on its first screen."""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_run(root / "runs", "ppo-10k", rows=10_000, metrics=6, total=16_000)
        once(root, *SCREENS["run"])
        figures = {name: best([once(root, *what) for _ in range(TRIES)]) for name, what in SCREENS.items()}
    for name, found in figures.items():
        print(f"{name}: " + ", ".join(f"{key} {value:.3g}" for key, value in found.items()))
    record("console-start", {"tries": TRIES, "load_average": os.getloadavg()[0], "first_screen": figures})


def once(root: Path, arguments: list[str], wanted: str) -> dict[str, float]:
    """One start: seconds until something is on the screen, and until `wanted` is; what it has cost by then."""
    terminal = Terminal(CONSOLE, *arguments, "--runs", str(root / "runs"), state=root / "state")
    first = terminal.seconds_until(lambda text: bool(text.strip()))
    found = {
        "first_paint_seconds": first,
        "first_screen_seconds": first + terminal.seconds_until(lambda text: wanted in text),
        "cpu_seconds": terminal.cpu_seconds,
        "rss_mib": terminal.rss_bytes / 2**20,
        "kib_sent": terminal.received / 1024,
        "torch_mappings": terminal.mappings("torch"),
    }
    terminal.close()
    return found


def best(tries: list[dict[str, float]]) -> dict[str, float]:
    """The least of each figure: what else the machine does can only add."""
    return {key: min(each[key] for each in tries) for key in tries[0]}
