"""How many processes a run has: the options, and what can't be."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from rlhf_console import plugins
from rlhf_console.durations import seconds_of
from rlhf_console.profiles import PIPELINE, SWEEP
from rlhf_sdk.pace import AttemptOptions
from rlhf_sdk.ranked.meeting import check_meeting
from rlhf_sdk.trainer import UserError

ProcessesOption = Annotated[
    int,
    typer.Option("--nproc", min=0, help="Processes that train together here, one a GPU; else as before, else one."),
]
NodesOption = Annotated[
    int, typer.Option("--nnodes", min=0, help="Machines that train together; the others say `rlhf join RUN`.")
]
RendezvousOption = Annotated[
    str, typer.Option("--rdzv", metavar="HOST:PORT", help="Where machines meet: this one's address, a free port.")
]
RestartsOption = Annotated[
    int | None,
    typer.Option("--restarts", min=0, help="How often ranks begin again after one was lost; else as before, else 3."),
]
RankTimeoutOption = Annotated[
    str,
    typer.Option(
        "--rank-timeout", metavar="TIME", help="How long ranks wait for one that is silent; else as before, else 10m."
    ),
]


def with_ranks(
    options: AttemptOptions, plugin: str, processes: int, nodes: int, rendezvous: str, *, meet: bool = True
) -> AttemptOptions:
    """`options` for so many processes; without `meet` somebody else brings the machines together.

    Raises `UserError` for a plugin that works in one process, and for machines that have no place to meet.
    """
    if max(processes, 1) * max(nodes, 1) == 1:
        return msgspec.structs.replace(options, processes=processes, nodes=nodes, rendezvous=rendezvous)
    if meet and nodes > 1 and not rendezvous:
        raise UserError(f"--nnodes {nodes}: say where the machines meet, such as --rdzv 10.0.0.1:29400")
    if plugin in (PIPELINE, SWEEP):
        if nodes > 1:
            raise UserError(f"--nnodes: what a {plugin} starts trains on one machine; start a stage by itself")
        return msgspec.structs.replace(options, stage_processes=processes)
    check_ranked(plugin, processes)
    if meet and nodes > 1:
        check_meeting(rendezvous)
    return msgspec.structs.replace(options, processes=processes, nodes=nodes, rendezvous=rendezvous)


def with_patience(options: AttemptOptions, restarts: int | None, rank_timeout: str) -> AttemptOptions:
    """`options` with how often ranks begin again, and how long they wait; None and "": not given."""
    seconds = seconds_of(rank_timeout, "--rank-timeout") if rank_timeout else 0.0
    return msgspec.structs.replace(options, restarts=restarts, rank_timeout_seconds=seconds)


def refuse_idle_meeting(nodes: int, rendezvous: str) -> None:
    """Raises `UserError` for a place to meet of a new run that is on one machine."""
    if rendezvous and nodes < 2:
        raise UserError(f"--rdzv {rendezvous}: say how many machines meet there, such as --nnodes 2")


def check_ranked(plugin: str, processes: int) -> None:
    """Raises `UserError` for a plugin that works in one process."""
    if plugin != PIPELINE and "ranks" not in plugins.describe(plugin)["capabilities"]:
        raise UserError(f"--nproc {processes}: plugin {plugin!r} works in one process")
