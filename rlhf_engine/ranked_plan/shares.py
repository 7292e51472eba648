"""How tensors are cut or dealt over ranks: numbers that the rank with most of them has. Torch-free."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from rlhf_engine.ranked_plan.tensors import Tensor, Tensors

BUCKET_BYTES = 32 * 2**20
"""Of gradients that are summed in one piece; a test holds it equal to `ranks.BUCKET_BYTES`."""
FLOAT32 = 4


def cut(tensors: Tensors, ranks: int) -> int:
    """FSDP2: each tensor is cut along its first dimension, and padded to pieces of as many rows for each rank."""
    return sum(-(-tensor.rows // ranks) * tensor.width for tensor in tensors)


def dealt(tensors: Tensors, ranks: int) -> int:
    """ZeroRedundancyOptimizer: tensors stay whole; each, the largest first, goes to the rank that has least so far."""
    hands = [0] * ranks
    for tensor in sorted(tensors, key=lambda tensor: -tensor.numbers):
        heapq.heappush(hands, heapq.heappop(hands) + tensor.numbers)
    return max(hands)


def bucket(tensors: Tensors) -> int:
    """The longest piece that gradients are copied together into; a tensor that is a piece by itself is not copied."""
    longest = 0
    for piece in buckets(tensors):
        if len(piece) > 1:
            longest = max(longest, sum(tensor.numbers for tensor in piece))
    return longest


def buckets(tensors: Tensors) -> Sequence[Tensors]:
    """Neighbours, up to `BUCKET_BYTES` of fp32 together."""
    found: list[list[Tensor]] = []
    room = 0
    for tensor in tensors:
        size = FLOAT32 * tensor.numbers
        if not found or size > room:
            found.append([])
            room = BUCKET_BYTES
        found[-1].append(tensor)
        room -= size
    return found
