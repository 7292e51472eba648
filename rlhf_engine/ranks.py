"""Processes that train one model together: who works on which rows, and sums and joins over all of them.

Everything that is a mean, a limit or a normalisation over a batch is made of all ranks' rows; docs/scaling.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

from rlhf_engine.errors import ConfigError

BUCKET_BYTES = 32 * 2**20
"""Gradients are summed in pieces of about this size: few messages, little memory beside the gradients."""


class Ranks:
    """This process is `rank` of `size`. Alone, as here, nothing is sent and every row is its own."""

    rank = 0
    size = 1

    def dealt(self, lengths: Sequence[int]) -> Tensor:
        """[size, k]: which rows each rank works on, ascending, with about as many tokens for each; k = rows / size.

        Where the rows can't be dealt evenly, some stand twice.
        """
        return deal(lengths, self.size)

    def own(self, lengths: Sequence[int]) -> list[int]:
        """The rows of this rank, ascending. Raises ValueError where they can't be dealt evenly."""
        if len(lengths) % self.size:
            raise ValueError(f"{len(lengths)} rows can't be dealt evenly to {self.size} ranks")
        return [int(row) for row in self.dealt(lengths)[self.rank]]

    def summed(self, values: Tensor) -> Tensor:
        """The sum over ranks of each element; the same bits on every rank."""
        return values

    def largest(self, values: Tensor) -> Tensor:
        """The maximum over ranks of each element."""
        return values

    def joined(self, parts: Tensor, dealt: Tensor) -> Tensor:
        """[rows, ...] of all ranks' `parts` [k, ...] in the order of the rows that were `dealt` [size, k]."""
        return parts

    def gathered(self, parts: Tensor) -> Tensor:
        """[N, ...]: all ranks' `parts` [n, ...], where each has as many as it likes, end to end."""
        return parts

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Each parameter's gradient becomes the sum over ranks."""


ALONE = Ranks()


class ProcessGroupRanks(Ranks):
    """The ranks of torch.distributed's default process group, which must be there."""

    def __init__(self) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()

    def summed(self, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    def largest(self, values: Tensor) -> Tensor:
        found = values.clone()
        dist.all_reduce(found, op=dist.ReduceOp.MAX)
        return found

    def joined(self, parts: Tensor, dealt: Tensor) -> Tensor:
        received = torch.cat(self._all_of(parts))
        places = {int(row): place for place, row in enumerate(dealt.flatten())}
        return received[[places[row] for row in range(len(places))]]

    def gathered(self, parts: Tensor) -> Tensor:
        counts = torch.cat(self._all_of(torch.tensor([len(parts)], device=parts.device))).tolist()
        padded = parts.new_zeros(max(counts), *parts.shape[1:])
        padded[: len(parts)] = parts
        return torch.cat([part[:count] for part, count in zip(self._all_of(padded), counts, strict=True)])

    def _all_of(self, part: Tensor) -> list[Tensor]:
        part = part.contiguous()
        received = [torch.empty_like(part) for _ in range(self.size)]
        dist.all_gather(received, part)
        return received

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        for bucket in _buckets([parameter.grad for parameter in parameters if parameter.grad is not None]):
            if len(bucket) == 1:
                dist.all_reduce(bucket[0])
                continue
            flat = torch.cat([gradient.flatten() for gradient in bucket])
            dist.all_reduce(flat)
            for gradient, total in zip(bucket, flat.split([part.numel() for part in bucket]), strict=True):
                gradient.copy_(total.view_as(gradient))


def deal(lengths: Sequence[int], size: int) -> Tensor:
    """`Ranks.dealt`: longest first, to and fro over the ranks; what is missing in the last round is dealt again."""
    if size == 1:
        return torch.arange(len(lengths)).unsqueeze(0)
    order = torch.tensor(lengths).argsort(descending=True, stable=True)
    missing = -len(lengths) % size
    rounds = torch.cat([order, order[:missing]]).view(-1, size)
    rounds[1::2] = rounds[1::2].flip(1)
    return rounds.T.sort(dim=1).values


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
