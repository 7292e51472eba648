"""The probe: the same held-out prompts answered again and again during training."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, structs

from rlhf_engine.config.data import DataConfig
from rlhf_engine.config.sections import COSTE, Section

WORLD = "world"
HELD_OUT_WORLD_SEED = 1_000_003
"""Added to the seed of the built-in world's posts, for posts that training has not seen."""


class ProbeConfig(Section, frozen=True, kw_only=True):
    """A fixed held-out prompt set, sampled with the same noise each time."""

    every: Annotated[int, Meta(ge=0, description="updates from one probe to the next; 0 means none")] = 0
    size: Annotated[int, Meta(ge=8, description="prompts")] = 64
    data: Annotated[
        DataConfig, Meta(description="held-out prompts; no source: the validation split of `data`, or other posts")
    ] = DataConfig()
    reward_model: Annotated[
        str,
        Meta(description="second opinion: directory, hub id or run:ID; empty: gold, or the reward model's own heads"),
    ] = ""
    ensemble_penalty: Annotated[
        float,
        Meta(ge=0, description="second opinion of several heads: their mean less this times their std", extra=COSTE),
    ] = 1.0

    def held_out(self, trained_on: DataConfig) -> DataConfig:
        """Where the prompts come from, `size` rows at most."""
        if self.data.source:
            rows = min(self.data.max_rows or self.size, self.size)
            return structs.replace(self.data, max_rows=rows)
        seed = trained_on.world_seed + HELD_OUT_WORLD_SEED
        return structs.replace(trained_on, split="validation", world_seed=seed, max_rows=self.size)
