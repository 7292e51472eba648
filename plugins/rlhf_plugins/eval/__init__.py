"""Compares policies on held-out prompts: gold, proxy, KL, win rates, ROUGE-L."""

from rlhf_engine.config import EvalConfig
from rlhf_sdk.spec import Panel, PluginSpec

plugin = PluginSpec(
    name="eval",
    summary="compares policies on held-out prompts, or says whether PPO on a reward model is wise",
    config=EvalConfig,
    trainer="rlhf_plugins.eval.choice:ChosenEvaluation",
    panels=[
        Panel("Scores of each policy in turn", ["eval/proxy_mean", "eval/gold_mean"], "points"),
        Panel("KL to the baseline", ["eval/kl_sequence_nats"], "nats/sequence"),
        Panel("ROUGE-L", ["eval/rouge_l"], "F1"),
        Panel("Response length", ["eval/tokens_mean"], "tokens"),
    ],
    headline=["eval/proxy_mean", "eval/gold_mean", "eval/kl_sequence_nats"],
    capabilities=["checkpoint"],
    plan="rlhf_plugins.plans:plan_eval",
    cost="rlhf_plugins.judges.cost:evaluation_cost",
    advice="rlhf_plugins.plan_advice:advise",
)
