"""What the command line takes to answer: CPU seconds, the least of several tries, and how many modules it imports."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.console.runs import RUNS, write_runs
from benchmarks.record import record

TRIES = 5
IMPORTED = """
import sys
from rlhf_console.cli import main
try:
    main()
finally:
    print(len(sys.modules), file=sys.stderr)
"""


def main() -> None:
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        empty, many = Path(folder) / "empty", Path(folder) / "many"
        for root in (empty, many):
            root.mkdir()
        write_runs(many)
        for name, command in commands(empty, many).items():
            figures[name] = {
                "cpu_seconds": min(cpu_seconds(command) for _ in range(TRIES)),
                "modules": modules(command),
            }
            print(
                f"rlhf {name:<28} {1000 * figures[name]['cpu_seconds']:6.0f} ms CPU, {figures[name]['modules']} modules"
            )
    record("start-up", {"tries": TRIES, "commands": figures, "load_average": os.getloadavg()[0]})


def commands(empty: Path, many: Path) -> dict[str, list[str]]:
    """Arguments by name; the first call of `plugins` has asked every plugin, the others find what it said."""
    here, there = ["--runs", str(empty)], ["--runs", str(many)]
    return {
        "--help": ["--help"],
        "run --help": ["run", "--help"],
        "plugins": ["plugins", *here],
        "profiles": ["profiles"],
        "ls": ["ls", *here],
        f"ls, {RUNS} runs": ["ls", *there],
        f"show, one of {RUNS} runs": ["show", "run-00077", *there],
    }


def cpu_seconds(arguments: list[str]) -> float:
    """User and system time of one call, children included."""
    before = os.times()
    command = [str(Path(sys.executable).with_name("rlhf")), *arguments]
    subprocess.run(command, check=True, capture_output=True)
    after = os.times()
    return (after.children_user - before.children_user) + (after.children_system - before.children_system)


def modules(arguments: list[str]) -> int:
    command = [sys.executable, "-c", IMPORTED, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stderr.splitlines()[-1])
