"""Lights of training on given text: pre-training, SFT, reward model, preferences. Torch-free."""

from __future__ import annotations

import math

from rlhf_engine.checks.rules import Rule

FINITE_GRADIENTS = Rule(
    name="finite_gradients",
    figure="optimizer/grad_norm",
    meaning="norm of the gradient before clipping; where it or the loss is not finite no step is taken",
    look_at="the learning rate, bf16 or fp16 overflow, and rows of the data that are very long or empty",
)

GRADIENT_RULES = (
    FINITE_GRADIENTS,
    Rule(
        name="gradient_norm",
        figure="optimizer/grad_norm",
        warn=10.0,
        fail=100.0,
        judged="over_median",
        meaning="gradient norm over its running median",
        look_at="the learning rate and its warm-up, max_grad_norm, and the rows of this step",
    ),
)

LANGUAGE_MODEL_RULES = (
    *GRADIENT_RULES,
    Rule(
        name="loss_below_uniform",
        figure="loss/share_of_uniform",
        warn=0.95,
        fail=1.0,
        from_update=20,
        from_share=0.2,
        meaning="loss over ln(vocabulary), the loss of a model that knows nothing",
        look_at="the learning rate, whether model and tokenizer belong together, and the labels' mask",
    ),
)

ACCURACY_ABOVE_CHANCE = Rule(
    name="accuracy_above_chance",
    figure="accuracy/train",
    fires="below",
    warn=0.52,
    fail=0.45,
    judged="recent_mean",
    from_share=0.2,
    meaning="share of pairs ranked as labelled, mean of the last 20 steps; 0.5 is chance",
    look_at="whether chosen and rejected are swapped, and the learning rate",
)

REWARD_MODEL_RULES = (
    *GRADIENT_RULES,
    ACCURACY_ABOVE_CHANCE,
    Rule(
        name="accuracy_too_good",
        figure="accuracy/train",
        warn=0.97,
        fail=0.995,
        judged="recent_mean",
        meaning="the same accuracy near 1: people agree on about 3 of 4 pairs, so the label may leak into the text",
        look_at="what tells chosen from rejected apart: length, EOS, a template, duplicates",
    ),
)

PAIR_RULES = (
    Rule(
        name="responses_differ",
        figure="pairs/different_share",
        fires="below",
        warn=0.5,
        fail=0.1,
        meaning="share of prompts to which the two responses differ",
        look_at="the temperature, and whether the policy writes the same to every prompt",
    ),
    Rule(
        name="labels_decide",
        figure="pairs/decided_share",
        fires="below",
        warn=0.5,
        fail=0.1,
        meaning="share of labelled pairs of which one response is preferred",
        look_at="whether the responses differ in anything that matters, and the judge's answers in both orders",
    ),
)

PREFERENCE_RULES = (
    *GRADIENT_RULES,
    Rule(
        name="margins_before_first_update",
        figure="implicit_reward/margin_max",
        fail=0.0,
        to_update=1,
        meaning="max |difference of implicit rewards| of a pair while the policy still is the reference",
        look_at="whether both are loaded from the same checkpoint, with dropout off",
    ),
    ACCURACY_ABOVE_CHANCE,
)


def share_of_uniform(nats_per_token: float, vocabulary: int) -> float:
    """A loss over ln(vocabulary), the loss of a model that gives every token the same probability."""
    return nats_per_token / math.log(vocabulary)
