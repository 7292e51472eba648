"""A small student that imitates a tuned policy."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from rlhf_engine.config.data import DataConfig
from rlhf_engine.config.sections import LIVE, ModelConfig, TrainerConfig

KIM = {"source": "Kim and Rush 2016"}
HINTON = {"source": "Hinton et al. 2015"}


class DistilConfig(TrainerConfig, frozen=True, kw_only=True):
    """Distillation on the teacher's own samples; `model` is the student."""

    teacher: Annotated[ModelConfig, Meta(description="the policy that is imitated; its tokenizer is the student's")] = (
        ModelConfig()
    )
    objective: Annotated[
        Literal["logits", "samples"],
        Meta(
            description="match the teacher's distribution at each token of its samples, or the samples alone", extra=KIM
        ),
    ] = "logits"
    softening: Annotated[
        float, Meta(gt=0, description="logits: temperature of both distributions in the loss", extra=HINTON)
    ] = 1.0
    data: Annotated[DataConfig, Meta(description="prompts")] = DataConfig()
    eval_data: Annotated[DataConfig, Meta(description="held-out prompts; no source means none")] = DataConfig()
    batch_size: Annotated[int, Meta(ge=1, description="prompts, each with a new sample, in an optimizer step")] = 64
    micro_batch_size: Annotated[int, Meta(ge=1, description="samples in one training forward")] = 16
    rollout_batch_size: Annotated[int, Meta(ge=1, description="rows sampled at once")] = 64
    response_tokens: Annotated[int, Meta(ge=1, description="longest sample in tokens")] = 53
    temperature: Annotated[float, Meta(gt=0, description="at which the teacher is sampled and imitated")] = 1.0
    epochs: Annotated[int, Meta(ge=1, description="passes over the prompts; samples are new in each")] = 1
    max_steps: Annotated[int, Meta(ge=0, description="stop after so many steps; 0 means all")] = 0
    eval_every: Annotated[
        int, Meta(ge=0, description="held-out figures every so many steps; 0: at the end", extra=LIVE)
    ] = 0
    sample_count: Annotated[int, Meta(ge=0, description="held-out prompts whose samples are recorded", extra=LIVE)] = 4
