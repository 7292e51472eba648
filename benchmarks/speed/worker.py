"""`python -m benchmarks.speed.worker TASK`: one contender, which takes its turns until standard input ends."""

from __future__ import annotations

import importlib
import sys

import msgspec

from benchmarks.speed.task import Task
from benchmarks.speed.turns import Turns


def main() -> None:
    task = msgspec.json.decode(sys.argv[1], type=Task)
    turns = Turns(task.device)
    module, _, function = task.work.partition(":")
    getattr(importlib.import_module(f"benchmarks.speed.{module}"), function)(task, turns)


if __name__ == "__main__":
    main()
