"""Pairs of a policy's responses, and their labels: what a reward model is trained on next."""

from rlhf_engine.config import PairsConfig
from rlhf_sdk.spec import Panel, PluginSpec

plugin = PluginSpec(
    name="pairs",
    summary="samples pairs of a policy's responses and has people, a judge or simulated annotators label them",
    config=PairsConfig,
    trainer="rlhf_plugins.pairs.trainer:PairsTrainer",
    panels=[
        Panel("Pairs", ["pairs/different", "pairs/chosen", "pairs/labelled"], "pairs"),
        Panel("Reward model's margin on the chosen pairs", ["pairs/margin_abs_mean"], "points"),
        Panel("Reward model against the labels", ["accuracy/labels", "accuracy/gold"], "share"),
    ],
    headline=["pairs/labelled", "accuracy/labels"],
    plan="rlhf_plugins.plans:plan_pairs",
    cost="rlhf_plugins.judges.cost:pairs_cost",
    advice="rlhf_plugins.plan_advice:advise",
)
