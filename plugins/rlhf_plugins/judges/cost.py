"""What judging would cost, before there are any texts: `rlhf run eval --dry-run`. Torch-free."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from rlhf_engine.config import EvalConfig, JudgeConfig, PairsConfig
from rlhf_engine.errors import ConfigError
from rlhf_plugins.judges.prices import ANSWER_TOKENS, CHARACTERS_PER_TOKEN, Usage, prices_of
from rlhf_plugins.judges.prompts import message_of, system_of
from rlhf_plugins.judges.questions import Question
from rlhf_plugins.judges.sending import by_batches
from rlhf_sdk.trainer import UserError

POSTS = 1000
"""Where the data decides how many there are."""
ORDERS = 2


def evaluation_cost(config: EvalConfig) -> list[str]:
    """One sentence where a Claude model judges. Raises `UserError` where its prices are not known."""
    if config.judge.kind != "claude" or config.what != "policies":
        return []
    try:
        return [_evaluation_sentence(config.with_named_policies())]
    except ConfigError as error:
        raise UserError(str(error)) from error


def pairs_cost(config: PairsConfig) -> list[str]:
    """One sentence where a Claude model labels. Raises `UserError` where its prices are not known."""
    if config.labeller != "judge" or config.judge.kind != "claude":
        return []
    try:
        return [_sentence(config.judge, config.pairs * ORDERS, _longest_input(config))]
    except ConfigError as error:
        raise UserError(str(error)) from error


def pipeline_cost(config: Any) -> list[str]:
    """Of each stage that may ask a judge."""
    asking = {name: stage for name, stage in config.stages.items() if stage.plugin in COSTS}
    return [
        f"{name}: {sentence}"
        for name, stage in asking.items()
        for sentence in _cost_of(*COSTS[stage.plugin], stage.config)
    ]


def _cost_of(kind: type[Any], cost: Callable[[Any], list[str]], config: dict[str, Any]) -> list[str]:
    return cost(msgspec.convert(config, kind))


def _evaluation_sentence(config: EvalConfig) -> str:
    posts = config.data.max_rows or POSTS
    questions = posts * ORDERS * sum(_matches(config, temperature) for temperature in config.temperatures)
    questions += ORDERS * (config.people.max_rows or POSTS) * bool(config.people.source)
    each = "" if config.data.max_rows else f" for each {POSTS:,} posts"
    return _sentence(config.judge, questions, _longest_input(config), each)


def _sentence(judge: JudgeConfig, questions: int, longest_input: int, each: str = "") -> str:
    batch = by_batches(judge, questions)
    usd = prices_of(judge).usd(Usage(questions * longest_input, questions * ANSWER_TOKENS), batch=batch)
    limit = f"the spend limit is {judge.spend_limit_usd:g} USD"
    return (
        f"at most {questions:,} questions to {judge.model} by {'batches' if batch else 'messages'}{each}, "
        f"{usd:.2f} USD with prompts and responses as long as allowed and {ANSWER_TOKENS} tokens an answer; "
        f"{limit}{': too little' * (usd > judge.spend_limit_usd)}"
    )


def _matches(config: EvalConfig, temperature: float) -> int:
    """Others against the baseline, and all against the references."""
    policies = len(config.policies) + len(config.best_of) * (temperature > 0)
    return 2 * policies - 1


def _longest_input(config: EvalConfig | PairsConfig) -> int:
    """Tokens of one question."""
    words_around = system_of(config.judge) + message_of(Question("", "", ""))
    response = max(config.response_tokens, config.data.max_response_tokens)
    return len(words_around) // CHARACTERS_PER_TOKEN + config.data.max_prompt_tokens + 2 * response


COSTS: dict[str, tuple[type[Any], Callable[[Any], list[str]]]] = {
    "eval": (EvalConfig, evaluation_cost),
    "pairs": (PairsConfig, pairs_cost),
}
"""By plugin."""
