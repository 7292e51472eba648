"""Several processes that train together, joined by gloo, each doing the same work; what each returns, by rank."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

PATIENCE_SECONDS = 120.0

FORKS = multiprocessing.get_context("forkserver")
PRELOADED = ["torch", "transformers", "rlhf_engine.layouts", "rlhf_engine.sharding.units", "trained", "evaluated"]
FORKS.set_forkserver_preload([*PRELOADED, "benchmarks.plan_ranks"])


def in_ranks(size: int, work: Callable[..., Any], *arguments: Any) -> list[Any]:
    """`work(ranks, *arguments)` in `size` processes. `work` is a function of a module, its result can be pickled."""
    with tempfile.TemporaryDirectory() as folder:
        ends = [FORKS.Pipe(duplex=False) for _ in range(size)]
        ranks = [
            FORKS.Process(target=_one_rank, args=(rank, size, folder, ends[rank][1], work, arguments))
            for rank in range(size)
        ]
        for process in ranks:
            process.start()
        results = [receiver.recv() if receiver.poll(PATIENCE_SECONDS) else "nothing" for receiver, _ in ends]
        for process in ranks:
            process.join(PATIENCE_SECONDS)
    failed = [result for result in results if isinstance(result, str)]
    assert not failed, f"a rank did not come to an end: {failed}"
    return results


def _one_rank(
    rank: int, size: int, folder: str, answer: Connection, work: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    import torch
    import torch.distributed as dist

    from rlhf_engine.ranks import ProcessGroupRanks

    torch.set_num_threads(1)
    method = f"file://{Path(folder) / 'store'}"
    dist.init_process_group(
        "gloo", init_method=method, rank=rank, world_size=size, timeout=timedelta(seconds=PATIENCE_SECONDS)
    )
    try:
        answer.send(work(ProcessGroupRanks(), *arguments))
    except Exception as error:
        answer.send(f"rank {rank}: {type(error).__name__}: {error}")
        raise
    finally:
        answer.close()
    # A group that is taken down politely waits for ranks that failed.
    os._exit(0)
