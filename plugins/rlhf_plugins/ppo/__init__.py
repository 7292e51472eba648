"""PPO with a per-token KL penalty to the SFT policy."""

from rlhf_engine.config import PPOConfig
from rlhf_plugins.panels import (
    DISAGREEMENT,
    KL_COEFFICIENT,
    LEARNING_RATE,
    ONLINE_HEADLINE,
    PROBE_PANELS,
    RESPONSE_PANELS,
    REWARD_PANELS,
)
from rlhf_sdk.spec import Panel, PluginSpec

plugin = PluginSpec(
    name="ppo",
    summary="PPO with a per-token KL penalty to the SFT policy",
    config=PPOConfig,
    trainer="rlhf_plugins.ppo.trainer:PPOTrainer",
    panels=[
        *REWARD_PANELS,
        Panel("Value loss", ["loss/value"]),
        Panel("Clip fraction", ["policy/clip_fraction", "value/clip_fraction"], "share"),
        Panel("Explained variance", ["value/explained_variance"], "share"),
        *RESPONSE_PANELS,
        Panel("Gradient norm", ["optimizer/grad_norm", "optimizer/value_grad_norm"]),
        LEARNING_RATE,
        KL_COEFFICIENT,
        DISAGREEMENT,
        *PROBE_PANELS,
    ],
    capabilities=["checkpoint", "ranks"],
    headline=ONLINE_HEADLINE,
    plan="rlhf_plugins.plans:plan_ppo",
    advice="rlhf_plugins.plan_advice:advise",
    check="rlhf_plugins.checking.hook:check",
)
