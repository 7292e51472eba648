"""PPO."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from rlhf_engine.config.data import DataConfig
from rlhf_engine.config.sections import HUANG, ModelConfig, OptimizerConfig, TrainerConfig


class PPOConfig(TrainerConfig, frozen=True, kw_only=True):
    """PPO with a per-token KL penalty to the SFT policy."""

    data: Annotated[DataConfig, Meta(description="prompts")] = DataConfig()
    reward_model: Annotated[ModelConfig, Meta(description="scores responses; also where the critic starts")] = (
        ModelConfig()
    )
    value_optimizer: Annotated[
        OptimizerConfig | None, Meta(description="for the value model; none means as `optimizer`")
    ] = None
    total_episodes: Annotated[int, Meta(ge=1, description="responses sampled in all", extra=HUANG)] = 1_000_000
    batch_size: Annotated[int, Meta(ge=1, description="episodes in one update", extra=HUANG)] = 512
    ppo_epochs: Annotated[int, Meta(ge=1, description="passes over an update's episodes", extra=HUANG)] = 4
    minibatches: Annotated[int, Meta(ge=1, description="optimizer steps in a pass", extra=HUANG)] = 1
    micro_batch_size: Annotated[int, Meta(ge=1, description="rows in one training forward; the result is the same")] = (
        16
    )
    rollout_batch_size: Annotated[int, Meta(ge=1, description="rows sampled at once")] = 64
    response_tokens: Annotated[int, Meta(ge=1, description="longest response in tokens", extra=HUANG)] = 53
    temperature: Annotated[
        float, Meta(gt=0, description="one temperature: rollout, reference and update alike", extra=HUANG)
    ] = 0.7
    kl_coef: Annotated[float, Meta(ge=0, description="weight of the per-token k1 KL penalty", extra=HUANG)] = 0.05
    clip_range: Annotated[float, Meta(gt=0, description="ratio clipped to 1 +- this", extra=HUANG)] = 0.2
    value_clip_range: Annotated[float, Meta(gt=0, description="values clipped to old +- this", extra=HUANG)] = 0.2
    vf_coef: Annotated[float, Meta(ge=0, description="weight of the value loss", extra=HUANG)] = 0.1
    gamma: Annotated[float, Meta(ge=0, le=1, description="discount", extra=HUANG)] = 1.0
    gae_lambda: Annotated[float, Meta(ge=0, le=1, description="lambda of GAE", extra=HUANG)] = 0.95
    whiten_rewards: Annotated[bool, Meta(description="scale rewards to variance 1, mean kept", extra=HUANG)] = False
    whiten_advantages: Annotated[bool, Meta(description="advantages to mean 0, variance 1", extra=HUANG)] = True
    missing_eos: Annotated[
        Literal["replace", "subtract"],
        Meta(description="no EOS: the score is replaced by, or lowered by, missing_eos_value", extra=HUANG),
    ] = "replace"
    missing_eos_value: Annotated[
        float, Meta(description="replace: the score instead; subtract: what is taken off", extra=HUANG)
    ] = -1.0
    sample_every: Annotated[int, Meta(ge=1, description="record samples every so many updates")] = 1
    sample_count: Annotated[int, Meta(ge=0, description="samples recorded each time")] = 4
