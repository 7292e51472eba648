"""How the worker is started: as one process, or as several by torchrun; and where its signals go."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from rlhf_sdk.commands import AnyCommand, Checkpoint, Pause, Stop, send_command
from rlhf_sdk.liveness import host_name, is_alive
from rlhf_sdk.pace import AttemptOptions
from rlhf_sdk.ranked.blame import blame_in_words, to_blame
from rlhf_sdk.ranked.meeting import interface_variables, own_address
from rlhf_sdk.ranked.reports import LOST_OTHERS, read_reports
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_record import RunStatus

ALLOCATOR_VARIABLES = {"PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"}


def worker_command(run: Path, options: AttemptOptions, arguments: Sequence[str], *, joins: bool = False) -> list[str]:
    """`arguments` are the worker's own, after its run; `joins`: what another machine has started."""
    if options.ranks == 1:
        return [sys.executable, "-P", "-m", "rlhf_sdk.worker", str(run), *arguments]
    return [
        *torchrun(run.name, options, joins=joins),
        *("-m", "rlhf_sdk.ranked.worker", str(run), *arguments),
    ]


def torchrun(run_id: str, options: AttemptOptions, *, joins: bool = False) -> list[str]:
    """With one machine nobody needs to be met. Who hosts the meeting, and how a machine is reached, is said outright:
    torchrun would look it up by the machine's name, which others need not know."""
    command = [sys.executable, "-P", "-m", "torch.distributed.run"]
    command += ["--nproc-per-node", str(max(options.processes, 1)), "--nnodes", str(max(options.nodes, 1))]
    command += ["--max-restarts", str(options.restart_limit), "--rdzv-id", run_id, "--rdzv-backend", "c10d"]
    if options.nodes < 2:
        return [*command, "--rdzv-endpoint", "localhost:0"]
    # Whoever waits no longer ends the meeting for all: that is the first machine's to say.
    patience = max(int(options.patience_seconds), 1) * (3 if joins else 1)
    command += ["--rdzv-endpoint", options.rendezvous]
    command += ["--rdzv-conf", f"is_host={int(not joins)},join_timeout={patience}"]
    address = own_address(options.rendezvous)
    return [*command, "--local-addr", address] if address else command


def join_command(run: Path, status: RunStatus, options: AttemptOptions) -> list[str]:
    """Another machine's part of the attempt that `status` tells of."""
    encoded = msgspec.json.encode(options).decode()
    arguments = ["--attempt", str(status.attempt), "--since", repr(status.started), "--options", encoded]
    return worker_command(run, options, arguments, joins=True)


def worker_environment(options: AttemptOptions) -> dict[str, str]:
    """The caller's, and what libraries read once, when they are loaded.

    OpenMP's threads would fight over busy cores if they spun while they wait. Torch's CUDA allocator finds room for a
    large tensor where small ones were freed if its segments can grow. Ranks share the cores, and take no modules from
    the folder that they run in.
    """
    environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ, "PYTHONUNBUFFERED": "1"}
    if not ALLOCATOR_VARIABLES & environment.keys():
        environment["PYTORCH_ALLOC_CONF"] = "expandable_segments:True"
    if options.ranks == 1:
        return environment
    threads = max((os.cpu_count() or 1) // max(options.processes, 1), 1)
    # With torchrun's own store ranks that begin anew would find the addresses of those that are gone.
    ranks = {"PYTHONSAFEPATH": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    interfaces = interface_variables(options.rendezvous) if options.nodes > 1 else {}
    return {"OMP_NUM_THREADS": str(threads), **interfaces, **environment, **ranks}


_COMMANDS: dict[int, AnyCommand] = {
    signal.SIGTERM: Stop(sender="signal"),
    signal.SIGINT: Stop(sender="signal"),
    signal.SIGUSR1: Pause(release=True, sender="signal"),
    signal.SIGUSR2: Checkpoint(sender="signal"),
}
"""What a signal means where rank 0 is on another host."""


class RankSignals:
    """Signals for a run of several ranks: rank 0's alone, once it is there; a command where that is on another host."""

    def __init__(self, run: Path, attempt: int) -> None:
        self._run, self._attempt = run, attempt
        self._pending: list[int] = []

    def send(self, number: int) -> None:
        self._pending.append(number)
        self.deliver()

    def deliver(self) -> None:
        """Those that nobody could hear yet."""
        leader = next((report for report in read_reports(self._run) if report.rank == 0), None)
        if leader is None or leader.attempt < self._attempt or leader.at == "starting" or leader.lives() is False:
            return
        while self._pending:
            number = self._pending.pop(0)
            if leader.host == host_name():
                os.kill(leader.process.pid, number)
            else:
                send_command(RunDir(self._run).commands, msgspec.structs.replace(_COMMANDS[number], time=time.time()))


def end_ranks(run: Path) -> None:
    """Kills what torchrun left on this host, if it was killed itself."""
    for report in read_reports(run):
        if report.host == host_name() and not report.ended and is_alive(report.process):
            with suppress(ProcessLookupError):
                os.kill(report.process.pid, signal.SIGKILL)


def used_up(options: AttemptOptions) -> str:
    """That ranks begin again no more."""
    limit = options.restart_limit
    return f"; begun again {limit} times already" if limit > 1 else "; begun again once already" if limit else ""


def lost_rank_in_words(run: Path, options: AttemptOptions) -> str:
    """What became of the rank that ended a run which could not say so itself; empty if nothing is known.

    After a link was lost it is what the ranks here said of it, and that nobody came back.
    """
    reports, now = read_reports(run), time.time()
    blamed = to_blame(reports, now)
    if blamed is not None:
        return f"{blame_in_words(blamed, now)}{used_up(options) if options.nodes < 2 else ''}"
    lost = [report.reason for report in reports if report.code == LOST_OTHERS and report.host == host_name()]
    waited = f"; no machine joined again within {options.patience_seconds:.0f} s" if options.nodes > 1 else ""
    return f"{lost[0]}{waited}" if lost else ""
