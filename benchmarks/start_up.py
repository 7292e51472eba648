"""CPU seconds that the command line takes to answer: the least of several tries."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.record import record

COMMANDS = (["--help"], ["plugins"], ["profiles"], ["ls"])
TRIES = 5


def cpu_seconds(arguments: list[str]) -> float:
    """User and system time of one call, children included."""
    before = os.times()
    command = [str(Path(sys.executable).with_name("rlhf")), *arguments]
    subprocess.run(command, check=True, capture_output=True)
    after = os.times()
    return (after.children_user - before.children_user) + (after.children_system - before.children_system)


def main() -> None:
    figures = {" ".join(["rlhf", *command]): min(cpu_seconds(command) for _ in range(TRIES)) for command in COMMANDS}
    for command, seconds in figures.items():
        print(f"{command:<16} {1000 * seconds:6.0f} ms CPU")
    record("start-up", {"cpu_seconds": figures})
