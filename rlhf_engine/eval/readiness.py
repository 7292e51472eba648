"""Is PPO on this reward model wise: figures of the report held against thresholds (docs/reward_models.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rlhf_engine.checks.rules import Light, Rule, judge

Word = Literal["ready", "with care", "not ready"]

READINESS_RULES = (
    Rule(
        name="gold_accuracy",
        figure="reward_model/gold_accuracy",
        fires="below",
        warn=0.72,
        fail=0.68,
        meaning="share of pairs ranked as gold does; in the built-in world PPO begins to hack models below 0.68",
        look_at="more comparisons, groups with copies that have one wrong fact, and the SFT policy's own loss",
    ),
    Rule(
        name="label_accuracy",
        figure="reward_model/accuracy",
        fires="below",
        warn=0.60,
        fail=0.55,
        meaning="share of held-out pairs ranked as people did, ties one half",
        look_at="the number of comparisons, the learning rate, whether chosen and rejected are swapped",
    ),
    Rule(
        name="better_than_chance",
        figure="reward_model/accuracy_low",
        fires="below",
        fail=0.5,
        meaning="lower end of the 95 % interval of that accuracy, clustered by post",
        look_at="more held-out pairs first: the interval may only be wide",
    ),
    Rule(
        name="better_than_a_ruler",
        figure="reward_model/least_lead_high",
        fires="below",
        fail=0.0,
        meaning="upper end of the interval of its lead over the best of longer, shorter and TF-IDF on the same pairs",
        look_at="a reward model that a rule on length equals will teach the policy that rule",
    ),
    Rule(
        name="lead_is_certain",
        figure="reward_model/least_lead_low",
        fires="below",
        warn=0.0,
        meaning="lower end of the interval of its lead over the best baseline: above 0 the lead is significant",
        look_at="more held-out pairs, and the baselines' own accuracies",
    ),
    Rule(
        name="similar_length",
        figure="reward_model/accuracy_similar_length_low",
        fires="below",
        warn=0.5,
        meaning="lower end of the accuracy on pairs whose lengths differ by less than 10 %, where length can't help",
        look_at="whether all that was learnt is length, or too few such pairs to tell",
    ),
    Rule(
        name="length_preference",
        figure="length/preference_gap",
        warn=0.10,
        fail=0.25,
        meaning="how much more or less often than people the model prefers the longer response",
        look_at="accuracy where the shorter one is preferred; balance the comparisons by length",
    ),
    Rule(
        name="calibration",
        figure="calibration/excess_error",
        warn=0.05,
        fail=0.15,
        meaning="calibration error after the temperature fit on other posts, above that of a perfect model as large",
        look_at="the reliability table: does accuracy rise with confidence at all?",
    ),
    Rule(
        name="overconfidence",
        figure="calibration/temperature",
        warn=2.0,
        fail=10.0,
        meaning="temperature that its margins need before confidence means accuracy; above 1 is overconfident",
        look_at="fewer epochs, a lower learning rate, weight decay, an ensemble",
    ),
    Rule(
        name="saturation",
        figure="saturation/extreme_share",
        warn=0.5,
        fail=0.8,
        meaning="share of scores within 1 % of the range from the highest or the lowest",
        look_at="the head and the normalisation: is it saturated, or constant?",
    ),
    Rule(
        name="normalised_mean",
        figure="normalisation/mean_error",
        warn=0.25,
        meaning="how far the mean score of what it was normalised on is from 0, in standard deviations, on other posts",
        look_at="rm.score_norm and rm.norm_data; missing_eos_value is meant on the normalised scale",
    ),
    Rule(
        name="normalised_spread",
        figure="normalisation/std_error",
        warn=0.25,
        meaning="how far the SFT policy's standard deviation is from 1, where affine_on_sft_samples made it 1",
        look_at="rm.norm_rows, and whether this is the policy it was normalised on; kl_coef is meant on that scale",
    ),
    Rule(
        name="heads_agree",
        figure="disagreement/share_of_margin",
        warn=0.5,
        fail=1.0,
        meaning="mean standard deviation over the heads of a pair's margin, over the mean size of margins",
        look_at="more comparisons, or ppo.ensemble_penalty, which makes what the heads dispute worth less",
    ),
    Rule(
        name="enough_posts",
        figure="reward_model/posts",
        fires="below",
        warn=100,
        fail=10,
        meaning="posts with held-out comparisons: pairs on one post count as one observation",
        look_at="eval.comparisons: more posts",
    ),
)


@dataclass(frozen=True)
class Verdict:
    """`lights` are the rules whose figure is there."""

    word: Word
    lights: Sequence[Light]

    @property
    def reasons(self) -> list[str]:
        """What keeps it from ready, the worst first."""
        return [f"{light.name} = {light.figure:.3f}: {light.explanation}" for light in _worst_first(self.lights)]

    def table(self) -> dict[str, Any]:
        """The worst first; what is not ok with what to look at."""
        ordered = sorted(self.lights, key=lambda light: ("fail", "warn", "ok").index(light.state))
        rules = {rule.name: rule for rule in READINESS_RULES}
        rows = [[light.state, light.name, light.figure, rules[light.name].thresholds] for light in ordered]
        title = f"PPO on this reward model: {self.word}"
        return {"title": title, "columns": ["state", "what", "figure", "thresholds"], "rows": rows}


def verdict(figures: Mapping[str, float]) -> Verdict:
    """not ready if a light fails, with care if one warns, else ready; rules without their figure are left out."""
    lights = [judge(rule, figures[rule.figure]) for rule in READINESS_RULES if rule.figure in figures]
    states = {light.state for light in lights}
    word: Word = "not ready" if "fail" in states else "with care" if "warn" in states else "ready"
    return Verdict(word, lights)


def _worst_first(lights: Sequence[Light]) -> list[Light]:
    return [light for state in ("fail", "warn") for light in lights if light.state == state]
