"""Training on the policy's own samples: PPO, RLOO, GRPO."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from rlhf_engine.config.data import DataConfig
from rlhf_engine.config.lora import LoraConfig
from rlhf_engine.config.probing import ProbeConfig
from rlhf_engine.config.sections import (
    AHMADIAN,
    COSTE,
    HUANG,
    LIVE,
    SHAO,
    ZIEGLER,
    ModelConfig,
    OptimizerConfig,
    ShardingConfig,
    ShardingLayout,
    TrainerConfig,
)


class OnlineConfig(TrainerConfig, frozen=True, kw_only=True):
    """What PPO, RLOO and GRPO share."""

    data: Annotated[DataConfig, Meta(description="prompts")] = DataConfig()
    reward_model: Annotated[ModelConfig, Meta(description="scores responses")] = ModelConfig()
    ref_model: Annotated[
        ModelConfig,
        Meta(description="the reference, where training does not start from it; none: `model`"),
    ] = ModelConfig()
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
    kl_coef: Annotated[
        float, Meta(ge=0, description="weight of the KL to the reference; adaptive: at first", extra=HUANG | LIVE)
    ] = 0.05
    kl_control: Annotated[
        Literal["fixed", "adaptive"],
        Meta(description="adaptive: kl_coef follows KL to kl_target_nats_per_sequence", extra=ZIEGLER),
    ] = "fixed"
    kl_target_nats_per_sequence: Annotated[
        float, Meta(gt=0, description="adaptive: mean KL of a response to the reference, k1", extra=ZIEGLER | LIVE)
    ] = 6.0
    kl_gain_per_update: Annotated[
        float,
        Meta(
            gt=0,
            lt=5,
            description="adaptive: coef x (1 + gain x relative error clipped to +-0.2)",
            extra=ZIEGLER | LIVE,
        ),
    ] = 0.1
    update_kl_limit_nats_per_token: Annotated[
        float,
        Meta(
            ge=0,
            description="an update ends before a minibatch beyond this k2 KL to the sampling policy; 0: off",
            extra=LIVE,
        ),
    ] = 0.0
    run_kl_limit_nats_per_sequence: Annotated[
        float,
        Meta(ge=0, description="end the run after an update beyond this k1 KL to the reference; 0: off", extra=LIVE),
    ] = 0.0
    clip_range: Annotated[float, Meta(gt=0, description="ratio clipped to 1 +- this", extra=HUANG | LIVE)] = 0.2
    missing_eos: Annotated[
        Literal["replace", "subtract"],
        Meta(description="no EOS: the score is replaced by, or lowered by, missing_eos_value", extra=HUANG),
    ] = "replace"
    missing_eos_value: Annotated[
        float, Meta(description="replace: the score instead; subtract: what is taken off", extra=HUANG)
    ] = -1.0
    ensemble_penalty: Annotated[
        float,
        Meta(
            ge=0, description="a score is the mean of the reward model's heads less this times their std", extra=COSTE
        ),
    ] = 0.0
    sample_every: Annotated[int, Meta(ge=1, description="record samples every so many updates", extra=LIVE)] = 1
    sample_count: Annotated[int, Meta(ge=0, description="samples recorded each time", extra=LIVE)] = 4
    probe: Annotated[
        ProbeConfig, Meta(description="held-out prompts answered every so often: is the reward being hacked?")
    ] = ProbeConfig()


FROZEN = "of a frozen model: weights whole on each rank, or sharded; empty: zero-3 where `model` is"


class PPOShardingConfig(ShardingConfig, frozen=True, kw_only=True):
    """By role: `model` is the policy."""

    value_model: Annotated[Literal["", ShardingLayout], Meta(description="of the critic; empty: as `model`")] = ""
    ref_model: Annotated[Literal["", "ddp", "zero-3"], Meta(description=FROZEN)] = ""
    reward_model: Annotated[Literal["", "ddp", "zero-3"], Meta(description=FROZEN)] = ""


class PPOConfig(OnlineConfig, frozen=True, kw_only=True):
    """PPO with a per-token KL penalty to the SFT policy."""

    reward_model: Annotated[ModelConfig, Meta(description="scores responses; also where the critic starts")] = (
        ModelConfig()
    )
    critic_of: Annotated[
        str, Meta(description="run:ID of a PPO run whose critic goes on; empty: it starts from the reward model")
    ] = ""
    layout: Annotated[
        Literal["separate", "shared_trunk", "adapters"],
        Meta(description="four full models; one trunk under policy and critic; or one frozen backbone with adapters"),
    ] = "separate"
    sharding: Annotated[PPOShardingConfig, Meta(description="layout over the ranks of a run, by role")] = (
        PPOShardingConfig()
    )
    lora: Annotated[LoraConfig | None, Meta(description="of layout = adapters; none there means its defaults")] = None
    value_optimizer: Annotated[
        OptimizerConfig | None, Meta(description="for the value model; none means as `optimizer`")
    ] = None
    value_clip_range: Annotated[float, Meta(gt=0, description="values clipped to old +- this", extra=HUANG | LIVE)] = (
        0.2
    )
    vf_coef: Annotated[float, Meta(ge=0, description="weight of the value loss", extra=HUANG | LIVE)] = 0.1
    gamma: Annotated[float, Meta(ge=0, le=1, description="discount", extra=HUANG)] = 1.0
    gae_lambda: Annotated[float, Meta(ge=0, le=1, description="lambda of GAE", extra=HUANG)] = 0.95
    whiten_rewards: Annotated[bool, Meta(description="scale rewards to variance 1, mean kept", extra=HUANG)] = False
    whiten_advantages: Annotated[bool, Meta(description="advantages to mean 0, variance 1", extra=HUANG)] = True


class CriticFreeConfig(OnlineConfig, frozen=True, kw_only=True):
    """What RLOO and GRPO share."""

    samples_per_prompt: Annotated[
        int, Meta(ge=2, description="k or G: responses to each prompt; batch_size is a multiple", extra=AHMADIAN)
    ] = 4
    ppo_epochs: Annotated[int, Meta(ge=1, description="passes over an update's episodes", extra=AHMADIAN)] = 1


class RLOOConfig(CriticFreeConfig, frozen=True, kw_only=True):
    """REINFORCE with a leave-one-out baseline: reward is the score less kl_coef times the sequence's k1."""

    kl_placement: ClassVar[Literal["loss", "reward"]] = "reward"
    loss_mean: ClassVar[Literal["responses", "tokens"]] = "tokens"


class GRPOConfig(CriticFreeConfig, frozen=True, kw_only=True):
    """Rewards relative to a group of responses to the same prompt."""

    kl_placement: Annotated[
        Literal["loss", "reward"],
        Meta(description="KL as a k3 term of the loss, or as k1 taken off the reward", extra=SHAO),
    ] = "loss"
    divide_by_std: Annotated[
        bool, Meta(description="advantages in standard deviations of their group; Dr. GRPO: false", extra=SHAO)
    ] = True
    loss_mean: Annotated[
        Literal["responses", "tokens"],
        Meta(description="mean over responses of their tokens' means, or over all tokens alike", extra=SHAO),
    ] = "responses"
