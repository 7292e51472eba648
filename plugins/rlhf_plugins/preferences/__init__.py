"""Learning from preferences without a reward model: DPO, IPO and KTO are one trainer with three losses."""

from rlhf_engine.config import DPOConfig, IPOConfig, KTOConfig
from rlhf_plugins.panels import GRADIENT, LEARNING_RATE
from rlhf_sdk.spec import Panel, PluginSpec

TRAINER = "rlhf_plugins.preferences.trainer:PreferenceTrainer"
CHECK = "rlhf_plugins.checking.hook:check"
PLAN = "rlhf_plugins.plans:plan_preferences"
ADVICE = "rlhf_plugins.plan_advice:advise"
HEADLINE = ["accuracy/train", "implicit_reward/margin_mean"]
PANELS = [
    Panel("Accuracy of the implicit reward", ["accuracy/train", "accuracy/valid"], "share"),
    Panel("Margin of the implicit reward", ["implicit_reward/margin_mean"], "points"),
    Panel("Implicit rewards", ["implicit_reward/chosen_mean", "implicit_reward/rejected_mean"], "points"),
    Panel("Log-probabilities", ["logprobs/chosen_nats", "logprobs/rejected_nats"], "nats/sequence"),
    Panel("KL to the SFT policy, held-out prompts", ["kl/sequence_nats"], "nats/sequence"),
    Panel("Gold of held-out samples", ["gold/score_mean"], "points"),
    Panel("Throughput", ["throughput/pairs_per_second"], "pairs/s"),
    GRADIENT,
    LEARNING_RATE,
]

dpo = PluginSpec(
    name="dpo",
    summary="direct preference optimisation on comparisons, without a reward model; label smoothing for noisy labels",
    config=DPOConfig,
    trainer=TRAINER,
    panels=[Panel("DPO loss", ["loss/preference"], "nats/pair"), *PANELS],
    capabilities=["checkpoint", "ranks"],
    headline=HEADLINE,
    plan=PLAN,
    advice=ADVICE,
    check=CHECK,
)
ipo = PluginSpec(
    name="ipo",
    summary="identity preference optimisation: a bounded margin, also where labels never disagree",
    config=IPOConfig,
    trainer=TRAINER,
    panels=[Panel("IPO loss", ["loss/preference"], "nats^2/pair"), *PANELS],
    capabilities=["checkpoint", "ranks"],
    headline=HEADLINE,
    plan=PLAN,
    advice=ADVICE,
    check=CHECK,
)
kto = PluginSpec(
    name="kto",
    summary="Kahneman-Tversky optimisation: each response is desirable or not, weighed against a KL reference point",
    config=KTOConfig,
    trainer=TRAINER,
    panels=[
        Panel("KTO loss", ["loss/preference"], "points/response"),
        Panel("Reference point z0", ["kl/reference_point_nats"], "nats/sequence"),
        *PANELS,
    ],
    capabilities=["checkpoint", "ranks"],
    headline=HEADLINE,
    plan=PLAN,
    advice=ADVICE,
    check=CHECK,
)
