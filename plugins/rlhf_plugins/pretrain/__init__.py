"""Next-token training on plain text: a small policy from scratch."""

from rlhf_engine.config import PretrainConfig
from rlhf_plugins.panels import GRADIENT, LEARNING_RATE, TOKENS_PER_SECOND
from rlhf_sdk.spec import Panel, PluginSpec

plugin = PluginSpec(
    name="pretrain",
    summary="next-token training on plain text, for a small policy from scratch",
    config=PretrainConfig,
    trainer="rlhf_plugins.pretrain.trainer:PretrainTrainer",
    panels=[
        Panel("Loss", ["loss/nats_per_token", "loss/valid_nats_per_token"], "nats/token"),
        TOKENS_PER_SECOND,
        GRADIENT,
        LEARNING_RATE,
    ],
    capabilities=["checkpoint", "ranks"],
    headline=["loss/nats_per_token", "throughput/tokens_per_second"],
    plan="rlhf_plugins.plans:plan_pretrain",
    advice="rlhf_plugins.plan_advice:advise",
    check="rlhf_plugins.checking.hook:check",
)
