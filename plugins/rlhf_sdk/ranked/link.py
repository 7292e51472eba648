"""What links the ranks of a run, and which of them this process is. torchrun's environment says so."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


class RankLink(Protocol):
    """What joins the processes of a run. Every call is made by all ranks, in the same order.

    `waiting_for`: what a call under way waits for, "" outside; `waited_seconds`: spent in such calls so far;
    `rows_dealt`: how many rows this rank was given to work on so far.
    """

    rank: int
    size: int
    waiting_for: str
    waited_seconds: float
    rows_dealt: int

    def meet(self, said: int) -> list[int]:
        """What each rank says, by rank."""

    def patience(self) -> AbstractContextManager[None]:
        """Around work that may take one of them long; left when all are through it."""

    def tell(self, message: bytes) -> bytes:
        """Rank 0's message."""


@runtime_checkable
class RankedRuntime(Protocol):
    """A runtime whose process can become one of several ranks."""

    def join_ranks(self, timeout_seconds: float) -> RankLink:
        """Joins the others, which this process's environment names (torchrun's variables).

        A call that waits longer than this for another rank raises an error that `lost_others` knows.
        """

    def lost_others(self, error: BaseException) -> bool:
        """Whether `error` says that another rank is gone, or has not come."""


def ranked_runtime(runtime: object) -> RankedRuntime | None:
    """`runtime`, where it can join others."""
    return runtime if isinstance(runtime, RankedRuntime) else None


@dataclass(frozen=True)
class RankPlace:
    """Which rank this process is, as torchrun's environment says; `restarts_left`: how often the run may begin anew."""

    rank: int = 0
    size: int = 1
    restart: int = 0
    restarts_left: int = 0

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> RankPlace:
        def number(name: str, default: int) -> int:
            return int(environment.get(name, default))

        restart = number("TORCHELASTIC_RESTART_COUNT", 0)
        return cls(
            number("RANK", 0), number("WORLD_SIZE", 1), restart, number("TORCHELASTIC_MAX_RESTARTS", 0) - restart
        )

    @property
    def leads(self) -> bool:
        return self.rank == 0


def rank_environment() -> RankPlace:
    return RankPlace.of(os.environ)
