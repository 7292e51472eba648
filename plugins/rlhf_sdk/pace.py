"""What an attempt was started with beside the config: how long it may last, how often it checkpoints."""

from __future__ import annotations

import time
from typing import Any

import msgspec

RESTARTS, RANK_TIMEOUT_SECONDS = 3, 600.0


class AttemptOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`--max-time` and `--checkpoint-every`, in seconds or steps; 0: not given.

    After `max_seconds` the attempt checkpoints and ends as requeued, exit code 75. `processes` on each of `nodes`
    machines train together, which meet at `rendezvous` (host:port) if there are several (0: as in the attempt before,
    else one); `restarts`: how often they may begin anew after one was lost, which is after `rank_timeout_seconds` if it
    does not answer (None, 0: as in the attempt before, else RESTARTS and RANK_TIMEOUT_SECONDS). `stage_processes`: of a
    pipeline's stages, of a sweep's cells.
    """

    max_seconds: float = 0.0
    checkpoint_steps: int = 0
    checkpoint_seconds: float = 0.0
    processes: int = 0
    nodes: int = 0
    stage_processes: int = 0
    rendezvous: str = ""
    restarts: int | None = None
    rank_timeout_seconds: float = 0.0

    @property
    def ranks(self) -> int:
        """How many processes train together."""
        return max(self.processes, 1) * max(self.nodes, 1)

    @property
    def restart_limit(self) -> int:
        return RESTARTS if self.restarts is None else self.restarts

    @property
    def patience_seconds(self) -> float:
        """How long ranks wait for one that does not answer."""
        return self.rank_timeout_seconds or RANK_TIMEOUT_SECONDS

    def as_before(self, before: AttemptOptions) -> AttemptOptions:
        """With the processes of the attempt `before` where none were asked for, its machines unless those were, and its
        patience with them."""
        patient = msgspec.structs.replace(
            self,
            restarts=before.restarts if self.restarts is None else self.restarts,
            rank_timeout_seconds=self.rank_timeout_seconds or before.rank_timeout_seconds,
        )
        if self.processes or self.stage_processes:
            return patient
        if self.nodes:
            return msgspec.structs.replace(patient, processes=before.processes)
        return msgspec.structs.replace(
            patient,
            processes=before.processes,
            nodes=before.nodes,
            stage_processes=before.stage_processes,
            rendezvous=self.rendezvous or before.rendezvous,
        )


class Pace:
    """When a checkpoint is due: as the attempt's options say, else as `checkpoint_every` of the config does."""

    def __init__(self, options: AttemptOptions) -> None:
        self._options = options
        self._newest = time.monotonic()

    def checkpointed(self) -> None:
        self._newest = time.monotonic()

    def due(self, config: Any, step: int) -> bool:
        """After `step`, the one that was just finished."""
        if self._options.checkpoint_seconds:
            return time.monotonic() - self._newest >= self._options.checkpoint_seconds
        every: int = self._options.checkpoint_steps or getattr(config, "checkpoint_every", 0)
        return bool(every) and step % every == 0
