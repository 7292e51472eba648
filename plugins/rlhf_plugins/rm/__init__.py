"""Bradley-Terry reward model on comparisons."""

from rlhf_engine.config import RMConfig
from rlhf_plugins.panels import GRADIENT, LEARNING_RATE
from rlhf_sdk.spec import Panel, PluginSpec

plugin = PluginSpec(
    name="rm",
    summary="reward model on human comparisons, pairs or groups of K (Bradley-Terry)",
    config=RMConfig,
    trainer="rlhf_plugins.rm.trainer:RewardModelTrainer",
    panels=[
        Panel("Pairwise loss", ["loss/pairwise"], "nats/pair"),
        Panel("Accuracy", ["accuracy/train", "accuracy/valid"], "share"),
        Panel("Scores", ["reward/score_mean", "reward/score_std"], "points"),
        Panel("Disagreement of the heads on a pair's margin", ["reward/margin_disagreement"], "points"),
        Panel("Throughput", ["throughput/pairs_per_second"], "pairs/s"),
        GRADIENT,
        LEARNING_RATE,
    ],
    capabilities=["checkpoint", "ranks"],
    headline=["accuracy/train", "loss/pairwise"],
    plan="rlhf_plugins.plans:plan_rm",
    advice="rlhf_plugins.plan_advice:advise",
    check="rlhf_plugins.checking.hook:check",
    score="rlhf_plugins.rm.scoring:score",
)
