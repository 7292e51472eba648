"""The models of online runs as one rank holds them, PPO's in each of its layouts. Torch-free; layouts: layouts.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rlhf_engine.config import CriticFreeConfig, LoraConfig, OnlineConfig, PPOConfig
from rlhf_engine.known_models import ModelShape, shape_of
from rlhf_engine.memory_rows import MemoryRow, TrainedRole, held
from rlhf_engine.ranked_plan.models import adapter, language_model, scalar_model
from rlhf_engine.ranked_plan.places import place_of
from rlhf_engine.ranked_plan.placing import Placed


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """The models of a run: those that are trained, the policy first, and those that are frozen.

    `critic`: its shape, if there is one; `reward_adapter`: where the reward model is one on another role's backbone.
    """

    trained: Sequence[TrainedRole]
    ref_policy: Placed
    reward_model: ModelShape
    rewarding: Placed
    rewarding_backbone: Placed | None = None
    critic: ModelShape | None = None
    reward_adapter: LoraConfig | None = None
    samples_per_prompt: int = 1
    ranks: int = 1

    @property
    def held(self) -> list[MemoryRow]:
        """Weights that stay: what a role adds to those above it."""
        policy, critics = self.trained[0], self.trained[1:]
        return [
            held("policy", policy.placed),
            held("ref_policy", self.ref_policy),
            *(held(critic.name, critic.placed) for critic in critics),
            held("reward_model", self.rewarding),
        ]


def ppo_roles(
    config: PPOConfig,
    ranks: int = 1,
    *,
    scalar: ModelShape | None = None,
    reward_adapter: LoraConfig | None = None,
) -> Roles:
    """PPO's models. `scalar`: the reward model's shape, if a stage has yet to make it; `reward_adapter`: it is one on
    the policy's backbone.
    """
    shape = shape_of(config.model, config.tokenizer)
    scalar = scalar or shape_of(config.reward_model, config.tokenizer, key="reward_model")
    if config.layout == "separate":
        return _separate(config, shape, scalar, ranks)
    if config.layout == "shared_trunk":
        return _shared_trunk(config, shape, scalar, ranks)
    return _adapters(config, shape, scalar, ranks, reward_adapter)


def critic_free_roles(config: CriticFreeConfig, ranks: int = 1, *, scalar: ModelShape | None = None) -> Roles:
    """RLOO's and GRPO's models."""
    shape = shape_of(config.model, config.tokenizer)
    scalar = scalar or shape_of(config.reward_model, config.tokenizer, key="reward_model")
    return Roles(
        trained=[_policy(config, shape, ranks)],
        ref_policy=language_model(shape, place_of(config, ranks, "ref_model")),
        reward_model=scalar,
        rewarding=scalar_model(scalar, place_of(config, ranks, "reward_model")),
        samples_per_prompt=config.samples_per_prompt,
        ranks=ranks,
    )


def _policy(config: OnlineConfig, shape: ModelShape, ranks: int, *, values: bool = False) -> TrainedRole:
    return TrainedRole(
        name="policy",
        shape=shape,
        placed=language_model(shape, place_of(config, ranks), trained=True, values=values),
        gradient_checkpointing=config.model.gradient_checkpointing,
        values=values,
    )


def _critic(config: PPOConfig, shape: ModelShape, placed: Placed) -> TrainedRole:
    return TrainedRole(
        name="value_model",
        shape=shape,
        placed=placed,
        gradient_checkpointing=config.reward_model.gradient_checkpointing,
        logit_chunks=0,
        values=True,
    )


def _separate(config: PPOConfig, shape: ModelShape, scalar: ModelShape, ranks: int) -> Roles:
    critic = _critic(config, scalar, scalar_model(scalar, place_of(config, ranks, "value_model"), trained=True))
    return Roles(
        trained=[_policy(config, shape, ranks), critic],
        ref_policy=language_model(shape, place_of(config, ranks, "ref_model")),
        reward_model=scalar,
        rewarding=scalar_model(scalar, place_of(config, ranks, "reward_model")),
        critic=scalar,
        ranks=ranks,
    )


def _shared_trunk(config: PPOConfig, shape: ModelShape, scalar: ModelShape, ranks: int) -> Roles:
    return Roles(
        trained=[_policy(config, shape, ranks, values=True)],
        ref_policy=language_model(shape, place_of(config, ranks, "ref_model")),
        reward_model=scalar,
        rewarding=scalar_model(scalar, place_of(config, ranks, "reward_model")),
        critic=shape,
        ranks=ranks,
    )


def _adapters(
    config: PPOConfig, shape: ModelShape, scalar: ModelShape, ranks: int, reward_adapter: LoraConfig | None
) -> Roles:
    lora = config.lora or LoraConfig()
    of_critic, place = reward_adapter or lora, place_of(config, ranks)
    # Roles that share weights lie as the first of them that is trained.
    backbone = language_model(shape, place)
    if reward_adapter:
        rewarding = adapter(scalar, place, reward_adapter, scores=True)
        critics_backbone = backbone
    else:
        rewarding = critics_backbone = scalar_model(scalar, place_of(config, ranks, "value_model"))
    policy = _policy(config, shape, ranks)
    critic = _critic(config, scalar, adapter(scalar, place, of_critic, scores=True, trained=True))
    return Roles(
        trained=[
            replace(policy, placed=adapter(shape, place, lora, trained=True), backbone=backbone, lora=lora),
            replace(critic, backbone=critics_backbone, lora=of_critic),
        ],
        ref_policy=backbone,
        reward_model=scalar,
        rewarding=rewarding,
        rewarding_backbone=critics_backbone,
        critic=scalar,
        reward_adapter=reward_adapter,
        ranks=ranks,
    )
