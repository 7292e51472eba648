"""Supervised fine-tuning on the response."""

from rlhf_engine.config import SFTConfig
from rlhf_plugins.panels import GRADIENT, LEARNING_RATE, TOKENS_PER_SECOND
from rlhf_sdk.spec import Panel, PluginSpec

plugin = PluginSpec(
    name="sft",
    summary="supervised fine-tuning: loss on the response alone",
    config=SFTConfig,
    trainer="rlhf_plugins.sft.trainer:SFTTrainer",
    panels=[
        Panel("Loss", ["loss/nats_per_token", "loss/valid_nats_per_token"], "nats/token"),
        TOKENS_PER_SECOND,
        GRADIENT,
        LEARNING_RATE,
    ],
    capabilities=["checkpoint", "ranks"],
    headline=["loss/nats_per_token", "throughput/tokens_per_second"],
    plan="rlhf_plugins.plans:plan_sft",
    advice="rlhf_plugins.plan_advice:advise",
    check="rlhf_plugins.checking.hook:check",
)
