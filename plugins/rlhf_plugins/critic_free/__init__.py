"""RLOO and GRPO: responses to one prompt are each other's baseline; no critic."""

from rlhf_engine.config import GRPOConfig, RLOOConfig
from rlhf_plugins.panels import (
    DISAGREEMENT,
    GRADIENT,
    KL_COEFFICIENT,
    LEARNING_RATE,
    ONLINE_HEADLINE,
    PROBE_PANELS,
    RESPONSE_PANELS,
    REWARD_PANELS,
)
from rlhf_sdk.spec import Panel, PluginSpec

TRAINER = "rlhf_plugins.critic_free.trainer:CriticFreeTrainer"
CHECK = "rlhf_plugins.checking.hook:check"
PLAN = "rlhf_plugins.plans:plan_critic_free"
ADVICE = "rlhf_plugins.plan_advice:advise"
CLIP_FRACTION = Panel("Clip fraction", ["policy/clip_fraction"], "share")
LAST_PANELS = [CLIP_FRACTION, *RESPONSE_PANELS, GRADIENT, LEARNING_RATE, KL_COEFFICIENT, DISAGREEMENT, *PROBE_PANELS]

rloo = PluginSpec(
    name="rloo",
    summary="RLOO: REINFORCE with a leave-one-out baseline over several responses to a prompt",
    config=RLOOConfig,
    trainer=TRAINER,
    panels=[*REWARD_PANELS, *LAST_PANELS],
    capabilities=["checkpoint", "ranks"],
    headline=ONLINE_HEADLINE,
    plan=PLAN,
    advice=ADVICE,
    check=CHECK,
)

grpo = PluginSpec(
    name="grpo",
    summary="GRPO: advantages relative to a group of responses to the same prompt",
    config=GRPOConfig,
    trainer=TRAINER,
    panels=[*REWARD_PANELS, Panel("KL term of the loss (k3)", ["loss/kl"], "nats/token"), *LAST_PANELS],
    capabilities=["checkpoint", "ranks"],
    headline=ONLINE_HEADLINE,
    plan=PLAN,
    advice=ADVICE,
    check=CHECK,
)
