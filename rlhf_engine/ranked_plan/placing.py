"""What one of several ranks holds of a role's model under each layout: bytes by closed form. Torch-free.

The layouts are those of rlhf_engine/sharding; formulas: docs/scaling_on_paper.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from rlhf_engine.config import ShardingLayout
from rlhf_engine.ranked_plan.shares import bucket, cut, dealt
from rlhf_engine.ranked_plan.tensors import Tensors, numbers

FLOAT32 = 4
ADAM_MOMENTS = 2 * FLOAT32
GATHERED_BLOCKS = 2
"""Blocks that are gathered at once in zero-3: the one at work, and what the next or the last one was sent as."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How a role lies on `ranks` ranks; `gather_bytes`: of a number as it is gathered; `offload`: its weights wait in
    the host's memory.
    """

    ranks: int = 1
    layout: ShardingLayout = "ddp"
    gather_bytes: int = FLOAT32
    offload: bool = False

    @property
    def sharded(self) -> bool:
        """Whether weights are cut."""
        return self.layout in ("zero-2", "zero-3")


ALONE = Place()


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A role's own tensors and their place: `blocks` times those of `block`, those of `root`, which belong to no block,
    and `whole` ones, which no layout cuts: scalar heads and adapters.

    `trained`: blocks and root change; `whole` ones always do where the role is `whole_trained`, stepped by an optimizer
    of their own where they are `apart`.
    """

    block: Tensors = ()
    blocks: int = 0
    root: Tensors = ()
    whole: Tensors = ()
    trained: bool = False
    whole_trained: bool = False
    apart: bool = False
    place: Place = ALONE

    @property
    def weights(self) -> int:
        """On the device, between uses."""
        return FLOAT32 * ((0 if self.place.offload else self._share()) + numbers(self.whole))

    @property
    def moments(self) -> int:
        """Adam's two, of the rank that has most."""
        if self.place.layout == "zero-1":
            together = [self._cut_tensors(), self.whole] if self.apart else [self._trained_tensors()]
            return ADAM_MOMENTS * sum(dealt(tensors, self.place.ranks) for tensors in together)
        return ADAM_MOMENTS * self._trained_share()

    @property
    def gradients(self) -> int:
        """As they wait for the optimizer."""
        return FLOAT32 * self._trained_share()

    @property
    def trained_numbers(self) -> int:
        """Of all ranks."""
        return numbers(self._trained_tensors())

    @property
    def bucket(self) -> int:
        """Of gradients that are copied together to be summed over ranks."""
        if self.place.ranks == 1:
            return 0
        summed = self.whole if self.place.sharded else self._trained_tensors()
        return FLOAT32 * bucket(summed if self.whole_trained or not self.place.sharded else ())

    @property
    def gathered_block(self) -> int:
        """Of one block, as gathered."""
        return self.place.gather_bytes * self._padded(self.block) if self.place.sharded else 0

    @property
    def gathered_root(self) -> int:
        """Of embeddings, final norm and head."""
        return self.place.gather_bytes * self._padded(self.root) if self.place.sharded else 0

    @property
    def gathered_whole(self) -> int:
        """All of it, as a rollout needs it."""
        return self.gathered_root + self.blocks * self.gathered_block

    @property
    def gathered_kept(self) -> int:
        """From a forward to its backward pass: everything in zero-2, the root in zero-3."""
        return self.gathered_whole if self.stays_gathered else self.gathered_root

    @property
    def gathered_passing(self) -> int:
        """At most, while blocks pass."""
        more = 1 if self.stays_gathered else GATHERED_BLOCKS
        return self.gathered_kept + more * self.gathered_block

    @property
    def gathered_backward(self) -> int:
        """At most, in the backward pass."""
        return self.gathered_kept if self.stays_gathered else self.gathered_passing

    @property
    def stays_gathered(self) -> bool:
        """From one pass to the next, until a backward pass: zero-2."""
        return self.place.layout == "zero-2"

    @property
    def in_bf16(self) -> bool:
        """Whether what is gathered needs no copies for matrix products in bf16."""
        return self.place.sharded and self.place.gather_bytes < FLOAT32

    @property
    def block_gradients(self) -> int:
        """Of one block, before they are summed over ranks."""
        return self.place.gather_bytes * self._padded(self.block) if self.place.sharded and self.trained else 0

    @property
    def unsummed_block(self) -> int:
        """Gradients of a block, and the fp32 that is sent of them."""
        return self._unsummed(self.block)

    @property
    def unsummed_root(self) -> int:
        """Gradients of the root, and what is sent of them; they wait for the end of the backward pass."""
        return self._unsummed(self.root)

    def share_of_blocks(self) -> int:
        """Numbers of all blocks that this rank sends when they are gathered or their gradients summed."""
        return self.blocks * cut(self.block, self.place.ranks)

    def share_of_root(self) -> int:
        """Likewise, of the root."""
        return cut(self.root, self.place.ranks)

    def _share(self) -> int:
        ranks = self.place.ranks if self.place.sharded else 1
        return self.blocks * cut(self.block, ranks) + cut(self.root, ranks)

    def _trained_share(self) -> int:
        return self._share() * self.trained + numbers(self.whole) * self.whole_trained

    def _trained_tensors(self) -> Tensors:
        return [*self._cut_tensors(), *(self.whole if self.whole_trained else ())]

    def _cut_tensors(self) -> Tensors:
        return [*self.root, *(list(self.block) * self.blocks)] if self.trained else []

    def _unsummed(self, tensors: Tensors) -> int:
        if not (self.place.sharded and self.trained):
            return 0
        return (self.place.gather_bytes + FLOAT32) * self._padded(tensors)

    def _padded(self, tensors: Tensors) -> int:
        return self.place.ranks * cut(tensors, self.place.ranks)


NOTHING = Placed()
