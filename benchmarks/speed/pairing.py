"""Contenders take turns: each lives in a process of its own, asleep while another one works."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from benchmarks.speed.peers import NoPeer, peer_path
from benchmarks.speed.stages import Contender
from benchmarks.speed.task import Task

CHECKOUT = Path(__file__).parents[2]
LAST_WORDS = 3

Turn = dict[str, Any]


class ContenderFailed(Exception):
    """A contender's process ended, or never began; says why."""


class Process:
    """One contender at work."""

    def __init__(self, contender: Contender, task: Task) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        try:
            environment = _environment(contender, task)
        except NoPeer as error:
            raise ContenderFailed(str(error)) from None
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.speed.worker", msgspec.json.encode(task).decode()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environment,
        )

    def wait_until_ready(self) -> None:
        self._answer()

    def turn(self) -> Turn:
        """One piece of work. Raises ContenderFailed."""
        try:
            self._stdin().write("go\n")
            self._stdin().flush()
        except BrokenPipeError:
            raise self._failed() from None
        return self._answer()

    def _stdin(self) -> Any:
        return self._process.stdin

    def _answer(self) -> Turn:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise self._failed()
        answer: Turn = json.loads(line)
        return answer

    def _failed(self) -> ContenderFailed:
        code = self._process.wait()
        self._errors.seek(0)
        words = self._errors.read().strip().splitlines()[-LAST_WORDS:]
        return ContenderFailed(f"exit code {code}: {' / '.join(words) or 'nothing said'}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.communicate()
        self._errors.close()


def _environment(contender: Contender, task: Task) -> dict[str, str]:
    """Sleeping threads that are as many as asked for, nothing from the network, caches of its own."""
    path = [str(CHECKOUT), *(str(CHECKOUT / root) for root in ("console", "plugins"))]
    if contender.peer:
        path.append(str(peer_path(contender.peer)))
    settled = {
        "OMP_WAIT_POLICY": "PASSIVE",
        "OMP_NUM_THREADS": str(task.threads),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "TRL_EXPERIMENTAL_SILENCE": "1",
        "XDG_CACHE_HOME": task.path("cache"),
        "HF_DATASETS_CACHE": task.path("cache"),
        "PYTHONPATH": os.pathsep.join(path),
    }
    return dict(os.environ) | settled | contender.environment


def median(turns: list[Turn], key: str) -> float:
    return float(statistics.median(turn[key] for turn in turns))


def median_ratio(theirs: list[Turn], ours: list[Turn], key: str) -> float:
    """Of the rounds' ratios: what they needed over what we needed."""
    return float(statistics.median(their[key] / our[key] for their, our in zip(theirs, ours, strict=True)))
