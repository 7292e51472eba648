"""What judging would cost, before there are any texts: `rlhf run eval --dry-run`. Torch-free."""

from __future__ import annotations

from typing import Any

import msgspec

from rlhf_engine.config import EvalConfig
from rlhf_engine.errors import ConfigError
from rlhf_plugins.judges.prices import ANSWER_TOKENS, CHARACTERS_PER_TOKEN, Usage, prices_of
from rlhf_plugins.judges.prompts import message_of, system_of
from rlhf_plugins.judges.questions import Question
from rlhf_plugins.judges.sending import by_batches
from rlhf_sdk.trainer import UserError

EVAL = "eval"
POSTS = 1000
"""Where the data decides how many there are."""
ORDERS = 2


def evaluation_cost(config: EvalConfig) -> list[str]:
    """One sentence where a Claude model judges. Raises `UserError` where its prices are not known."""
    if config.judge.kind != "claude" or config.what != "policies":
        return []
    try:
        return [_sentence(config.with_named_policies())]
    except ConfigError as error:
        raise UserError(str(error)) from error


def pipeline_cost(config: Any) -> list[str]:
    """Of each stage that is an evaluation."""
    evaluations = {name: stage.config for name, stage in config.stages.items() if stage.plugin == EVAL}
    return [
        f"{name}: {sentence}"
        for name, stage in evaluations.items()
        for sentence in evaluation_cost(msgspec.convert(stage, EvalConfig))
    ]


def _sentence(config: EvalConfig) -> str:
    judge, posts = config.judge, config.data.max_rows or POSTS
    questions = posts * ORDERS * sum(_matches(config, temperature) for temperature in config.temperatures)
    questions += ORDERS * (config.people.max_rows or POSTS) * bool(config.people.source)
    batch = by_batches(judge, questions)
    usage = Usage(questions * _longest_input(config), questions * ANSWER_TOKENS)
    usd = prices_of(judge).usd(usage, batch=batch)
    limit = f"the spend limit is {judge.spend_limit_usd:g} USD"
    return (
        f"at most {questions:,} questions to {judge.model} by {'batches' if batch else 'messages'}"
        f"{'' if config.data.max_rows else f' for each {POSTS:,} posts'}, {usd:.2f} USD with prompts and responses as "
        f"long as allowed and {ANSWER_TOKENS} tokens an answer; {limit}{': too little' * (usd > judge.spend_limit_usd)}"
    )


def _matches(config: EvalConfig, temperature: float) -> int:
    """Others against the baseline, and all against the references."""
    policies = len(config.policies) + len(config.best_of) * (temperature > 0)
    return 2 * policies - 1


def _longest_input(config: EvalConfig) -> int:
    """Tokens of one question."""
    words_around = system_of(config.judge) + message_of(Question("", "", ""))
    response = max(config.response_tokens, config.data.max_response_tokens)
    return len(words_around) // CHARACTERS_PER_TOKEN + config.data.max_prompt_tokens + 2 * response
