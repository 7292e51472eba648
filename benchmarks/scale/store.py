"""A hundred runs of a million events each: the list, one run, and what they take in memory and on disk."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.console.material import write_run
from benchmarks.console.terminal import CONSOLE, Terminal
from benchmarks.record import record

RUNS, ROWS, METRICS = 100, 1_000_000, 3
SIZES = (10_000, 100_000, 1_000_000)
"""Rows of a run, for how long it takes to open one."""
MIB = 1 << 20
MEASURED = """
import sys
from rlhf_console.cli import main
try:
    main()
finally:
    (peak,) = (line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(peak.split()[1], file=sys.stderr)
"""

Figures = dict[str, float]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "runs"
        first = write_run(root, "run-000", rows=ROWS, metrics=METRICS)
        one = (first / "events.jsonl").stat().st_size
        for number in range(1, RUNS):
            _another(root, first, f"run-{number:03}")
        figures = {
            "runs": RUNS, "events_in_each": ROWS + 2, "values_in_each": METRICS, "gib_of_events": one * RUNS / 2**30,
            "bytes_an_event": one / (ROWS + 2), "rlhf_ls": _command("ls", "--runs", str(root)),
            "rlhf_show": _command("show", "run-050", "--runs", str(root)), "console": _console(root, Path(folder)),
            "opening_by_rows": {str(rows): _opened(Path(folder), rows) for rows in SIZES},
            "load_average": os.getloadavg()[0],
        }  # fmt: skip
    print(figures)
    record("scale-store", figures)


def _another(root: Path, first: Path, name: str) -> None:
    """A run with a record of its own and the same events; hard links, so that a disk need not hold thirty gigabytes."""
    directory = root / name
    directory.mkdir()
    text = (first / "run.json").read_text().replace("run-000", name)
    (directory / "run.json").write_text(text)
    (directory / "events.jsonl").hardlink_to(first / "events.jsonl")


def _command(*arguments: str) -> Figures:
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([sys.executable, "-c", MEASURED, *arguments], check=True, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime,
        "rss_mib": int(done.stderr.splitlines()[-1]) / 1024,
    }


def _console(root: Path, folder: Path) -> Figures:
    """The list of all, then one run until every event of it is drawn."""
    terminal = Terminal(CONSOLE, "--runs", str(root), state=folder / "state")
    listed = terminal.seconds_until(lambda text: f"{RUNS} runs" in text)
    terminal.run_for(3.0)
    cpu = terminal.cpu_seconds
    figures = {"listed_seconds": listed, "listed_cpu_seconds": cpu, "listed_rss_mib": terminal.rss_bytes / MIB}
    terminal.press("\r")
    figures["opened_seconds"] = terminal.seconds_until(lambda text: "Reward (points)" in text)
    whole = f"step {ROWS}/{ROWS}"
    figures["complete_seconds"] = terminal.seconds_until(lambda text: whole in text and "to go" not in text)
    figures |= {"complete_cpu_seconds": terminal.cpu_seconds - cpu, "complete_rss_mib": terminal.rss_bytes / MIB}
    terminal.close()
    return figures


def _opened(folder: Path, rows: int) -> Figures:
    root = folder / f"{rows}"
    write_run(root, "alone", rows=rows, metrics=METRICS)
    found = _command("show", "alone", "--runs", str(root))
    shutil.rmtree(root)
    return found
