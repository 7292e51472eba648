"""A small student that imitates a tuned policy."""

from rlhf_engine.config import DistilConfig
from rlhf_plugins.panels import GRADIENT, LEARNING_RATE
from rlhf_sdk.spec import Panel, PluginSpec

plugin = PluginSpec(
    name="distil",
    summary="a small student of a tuned policy: its samples, or its distribution at each of their tokens",
    config=DistilConfig,
    trainer="rlhf_plugins.distil.trainer:DistilTrainer",
    panels=[
        Panel("Loss on the teacher's samples", ["loss/nats_per_token"], "nats/token"),
        Panel("KL to the teacher, held-out prompts", ["kl/sequence_nats"], "nats/sequence"),
        Panel("Gold of held-out samples", ["gold/score_mean"], "points"),
        Panel("Throughput", ["throughput/samples_per_second"], "samples/s"),
        GRADIENT,
        LEARNING_RATE,
    ],
    headline=["loss/nats_per_token", "kl/sequence_nats"],
    plan="rlhf_plugins.plans:plan_distil",
    advice="rlhf_plugins.plan_advice:advise",
)
