"""Low-rank adapters, for every stage that can train them."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from rlhf_engine.config.sections import Section

HU = {"source": "Hu et al. 2021"}


class LoraConfig(Section, frozen=True, kw_only=True):
    """LoRA on the blocks' linear layers: W + (alpha / rank) B A with W frozen. Its dropout is 0, as everywhere."""

    rank: Annotated[int, Meta(ge=1, description="rows of A, columns of B", extra=HU)] = 16
    alpha: Annotated[float, Meta(gt=0, description="the adapter is scaled by alpha / rank", extra=HU)] = 32.0
    targets: Annotated[
        list[str], Meta(description="names of linear layers, such as q_proj; none: all of the blocks' linear layers")
    ] = field(default_factory=list)
