"""How the worker is started: as one process, or as several by torchrun; and where its signals go."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from rlhf_sdk.liveness import host_name, is_alive
from rlhf_sdk.pace import AttemptOptions
from rlhf_sdk.ranks import blame_in_words, read_reports, to_blame


def worker_command(run: Path, options: AttemptOptions, arguments: Sequence[str]) -> list[str]:
    """`arguments` are the worker's own, after its run."""
    if options.ranks == 1:
        return [sys.executable, "-P", "-m", "rlhf_sdk.worker", str(run), *arguments]
    return [
        *torchrun(run.name, options),
        *("-m", "rlhf_sdk.ranked_worker", str(run), *arguments),
    ]


def torchrun(run_id: str, options: AttemptOptions) -> list[str]:
    """The same on every node of a run; with one node nobody needs to be met."""
    command = [sys.executable, "-P", "-m", "torch.distributed.run"]
    command += ["--nproc-per-node", str(options.processes), "--nnodes", str(options.nodes)]
    command += ["--max-restarts", str(options.restarts), "--rdzv-id", run_id, "--rdzv-backend", "c10d"]
    return [*command, "--rdzv-endpoint", options.rendezvous or "localhost:0"]


def worker_environment(environment: Mapping[str, str], options: AttemptOptions) -> dict[str, str]:
    """What ranks need beside the worker's own: no modules from the folder that they run in, and their cores shared."""
    if options.ranks == 1:
        return dict(environment)
    threads = max((os.cpu_count() or 1) // options.processes, 1)
    return {"OMP_NUM_THREADS": str(threads), **environment, "PYTHONSAFEPATH": "1"}


class RankSignals:
    """Signals for a run of several ranks: rank 0's alone, once it is there."""

    def __init__(self, run: Path, attempt: int) -> None:
        self._run, self._attempt = run, attempt
        self._pending: list[int] = []

    def send(self, number: int) -> None:
        self._pending.append(number)
        self.deliver()

    def deliver(self) -> None:
        """Those that nobody could hear yet."""
        leader = next((report for report in read_reports(self._run) if report.rank == 0), None)
        if leader is None or leader.attempt < self._attempt or leader.at == "starting" or leader.lives() is not True:
            return
        while self._pending:
            os.kill(leader.process.pid, self._pending.pop(0))


def end_ranks(run: Path) -> None:
    """Kills what torchrun left on this host, if it was killed itself."""
    for report in read_reports(run):
        if report.host == host_name() and not report.ended and is_alive(report.process):
            with suppress(ProcessLookupError):
                os.kill(report.process.pid, signal.SIGKILL)


def lost_rank_in_words(run: Path) -> str:
    """What became of the rank that ended a run which could not say so itself; empty if nothing is known."""
    blamed = to_blame(read_reports(run))
    return blame_in_words(blamed, time.time()) if blamed is not None else ""
