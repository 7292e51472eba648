"""Processes that train one model together: who works on which rows, and sums and joins over all of them.

Everything that is a mean, a limit or a normalisation over a batch is made of all ranks' rows; docs/scaling.md.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import chain, cycle, islice

import torch
import torch.distributed as dist
from torch import Tensor, nn

from rlhf_engine.errors import ConfigError

BUCKET_BYTES = 32 * 2**20
"""Gradients are summed in pieces of about this size: few messages, little memory beside the gradients."""

SIGN_OF_LIFE_SECONDS = 1.0


Dealt = list[list[int]]
"""Rows by rank."""


class Ranks:
    """This process is `rank` of `size`. Alone, as here, nothing is sent and every row is its own."""

    rank = 0
    size = 1

    def dealt(self, lengths: Sequence[int]) -> Dealt:
        """Which rows each rank works on, ascending, as many for each, with about as many tokens.

        Where the rows can't be dealt evenly, some stand twice.
        """
        return deal(lengths, self.size)

    def own(self, lengths: Sequence[int]) -> list[int]:
        """The rows of this rank, ascending. Raises ValueError where they can't be dealt evenly."""
        if len(lengths) % self.size:
            raise ValueError(f"{len(lengths)} rows can't be dealt evenly to {self.size} ranks")
        return self.dealt(lengths)[self.rank]

    def summed(self, values: Tensor) -> Tensor:
        """The sum over ranks of each element; the same bits on every rank."""
        return values

    def largest(self, values: Tensor) -> Tensor:
        """The maximum over ranks of each element."""
        return values

    def joined(self, parts: Tensor, dealt: Dealt) -> Tensor:
        """[rows, ...] of all ranks' `parts` [k, ...] in the order of the rows that were `dealt`."""
        return parts

    def gathered(self, parts: Tensor) -> Tensor:
        """[N, ...]: all ranks' `parts` [n, ...], where each has as many as it likes, end to end."""
        return parts

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Each parameter's gradient becomes the sum over ranks."""


ALONE = Ranks()


class ProcessGroupRanks(Ranks):
    """The ranks of torch.distributed's default process group, which must be there.

    `waiting_for`: what a call under way waits for; `waited_seconds`: time spent in such calls, the wire's share too;
    `rows_dealt`: how many rows were this rank's, counted each time.
    """

    def __init__(self, timeout_seconds: float = 600.0) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.waiting_for, self.waited_seconds, self.rows_dealt = "", 0.0, 0
        self._words = dist.new_group(backend="gloo", timeout=timedelta(seconds=timeout_seconds))
        self._signs_of_life = dist.new_group(backend="gloo", timeout=timedelta(seconds=timeout_seconds))

    def dealt(self, lengths: Sequence[int]) -> Dealt:
        hands = super().dealt(lengths)
        self.rows_dealt += len(hands[self.rank])
        return hands

    @property
    def host_group(self) -> dist.ProcessGroup:
        """For what is in the host's memory."""
        group: dist.ProcessGroup = self._words
        return group

    @contextmanager
    def _waiting(self, what: str) -> Iterator[None]:
        began, self.waiting_for = time.perf_counter(), what
        yield
        self.waited_seconds += time.perf_counter() - began
        self.waiting_for = ""

    def meet(self, said: int) -> list[int]:
        """What each rank says, by rank; off the device, so that nothing there is waited for."""
        with self._waiting("meeting"):
            return self._said_by_all(said, self._words)

    @contextmanager
    def patience(self) -> Iterator[None]:
        """Work that may take one rank as long as it likes; left when all are through.

        Meanwhile a thread of each rank exchanges signs of life, so that a rank that is lost is told from a busy one.
        """
        through, failures = threading.Event(), list[RuntimeError]()
        thread = threading.Thread(target=self._show_life, args=(through, failures), daemon=True)
        thread.start()
        yield
        through.set()
        with self._waiting("meeting"):
            thread.join()
            if failures:
                raise failures[0]

    def _show_life(self, through: threading.Event, failures: list[RuntimeError]) -> None:
        """Until all are `through`."""
        try:
            all_through = False
            while not all_through:
                through.wait(SIGN_OF_LIFE_SECONDS)
                all_through = all(self._said_by_all(int(through.is_set()), self._signs_of_life))
        except RuntimeError as error:
            failures.append(error)

    def _said_by_all(self, said: int, group: dist.ProcessGroup) -> list[int]:
        answers = [torch.zeros(1, dtype=torch.long) for _ in range(self.size)]
        dist.all_gather(answers, torch.tensor([said]), group=group)
        return [int(answer) for answer in answers]

    def tell(self, message: bytes) -> bytes:
        """Rank 0's message."""
        length = torch.tensor([len(message)])
        with self._waiting("word of rank 0"):
            dist.broadcast(length, src=0, group=self._words)
            words = torch.tensor(list(message) if self.rank == 0 else [0] * int(length), dtype=torch.uint8)
            if int(length):
                dist.broadcast(words, src=0, group=self._words)
        return bytes(words.tolist())

    def summed(self, values: Tensor) -> Tensor:
        total = values.clone()
        with self._waiting("sums"):
            dist.all_reduce(total)
        return total

    def largest(self, values: Tensor) -> Tensor:
        found = values.clone()
        with self._waiting("sums"):
            dist.all_reduce(found, op=dist.ReduceOp.MAX)
        return found

    def joined(self, parts: Tensor, dealt: Dealt) -> Tensor:
        received = torch.cat(self._all_of(parts))
        places = {row: place for place, row in enumerate(chain.from_iterable(dealt))}
        return received[[places[row] for row in range(len(places))]]

    def gathered(self, parts: Tensor) -> Tensor:
        counts = torch.cat(self._all_of(torch.tensor([len(parts)], device=parts.device))).tolist()
        padded = parts.new_zeros(max(counts), *parts.shape[1:])
        padded[: len(parts)] = parts
        return torch.cat([part[:count] for part, count in zip(self._all_of(padded), counts, strict=True)])

    def _all_of(self, part: Tensor) -> list[Tensor]:
        part = part.contiguous()
        received = [torch.empty_like(part) for _ in range(self.size)]
        with self._waiting("rows"):
            dist.all_gather(received, part)
        return received

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        with self._waiting("gradients"):
            for bucket in _buckets([parameter.grad for parameter in parameters if parameter.grad is not None]):
                _sum_in_place(bucket)


def deal(lengths: Sequence[int], size: int) -> Dealt:
    """`Ranks.dealt`: longest first, to and fro over the ranks; what is missing in the last round is dealt again."""
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    order += islice(cycle(order[:]), -len(order) % size)
    hands: Dealt = [[] for _ in range(size)]
    for turn in range(0, len(order), size):
        to_and_fro = hands if turn // size % 2 == 0 else reversed(hands)
        for hand, row in zip(to_and_fro, order[turn : turn + size], strict=True):
            hand.append(row)
    return [sorted(hand) for hand in hands]


def _sum_in_place(bucket: Sequence[Tensor]) -> None:
    if len(bucket) == 1:
        dist.all_reduce(bucket[0])
        return
    flat = torch.cat([gradient.flatten() for gradient in bucket])
    dist.all_reduce(flat)
    for gradient, total in zip(bucket, flat.split([part.numel() for part in bucket]), strict=True):
        gradient.copy_(total.view_as(gradient))


def join_ranks(timeout_seconds: float) -> ProcessGroupRanks:
    """Joins the processes that torchrun's environment names: gloo for the host's tensors, NCCL for those on GPUs."""
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    dist.init_process_group(backend, timeout=timedelta(seconds=timeout_seconds))
    return ProcessGroupRanks(timeout_seconds)


def lost_others(error: BaseException) -> bool:
    """Whether `error` says that another rank is gone or did not come in time; gloo's are told by their words."""
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _LOST)
    )


_LOST = ("Connection closed by peer", "Connection reset by peer", "Timed out waiting", "gloo/transport", "NCCL error")


def _buckets(gradients: Sequence[Tensor]) -> list[list[Tensor]]:
    """Neighbours of one type, up to `BUCKET_BYTES` together."""
    buckets: list[list[Tensor]] = []
    room = 0
    for gradient in gradients:
        size = gradient.numel() * gradient.element_size()
        if not buckets or size > room or gradient.dtype != buckets[-1][0].dtype:
            buckets.append([])
            room = BUCKET_BYTES
        buckets[-1].append(gradient)
        room -= size
    return buckets


def check_divisible(rows: int, ranks: Ranks, key: str) -> None:
    """Raises ConfigError, naming `key`, where `rows` can't be dealt evenly."""
    if rows % ranks.size:
        raise ConfigError(
            f"{key}: {rows} rows can't be dealt evenly to {ranks.size} ranks; choose a multiple of {ranks.size}"
        )
