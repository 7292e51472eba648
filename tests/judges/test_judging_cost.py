"""What judging would cost, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from rlhf_engine.config import DataConfig, EvalConfig, JudgeConfig
from rlhf_plugins.judges import cost
from rlhf_plugins.judges.claude import estimate
from rlhf_plugins.judges.prices import Usage, prices_of
from rlhf_plugins.judges.prompts import message_of, system_of
from rlhf_plugins.judges.questions import Question
from rlhf_sdk.trainer import UserError

DATA = DataConfig(source=["world"], max_rows=10, max_prompt_tokens=100, max_response_tokens=20)


def config(judge: JudgeConfig, **changes: Any) -> EvalConfig:
    settings: dict[str, Any] = {"policies": {"a": "x", "b": "y"}, "data": DATA, "response_tokens": 30}
    return EvalConfig(judge=judge, **(settings | {"temperatures": [1.0, 0.0]} | changes))


def test_questions_count_every_pair_in_both_orders_at_every_temperature() -> None:
    judge = JudgeConfig(kind="claude")
    (two,) = cost.evaluation_cost(config(judge))
    assert two.startswith(f"at most {10 * 2 * 2 * 3} questions to claude-sonnet-4-6 by batches")
    (best,) = cost.evaluation_cost(config(judge, best_of=[4], temperatures=[1.0]))
    assert best.startswith(f"at most {10 * 2 * 5} questions to claude-sonnet-4-6 by messages")
    people = DataConfig(source=["people.jsonl"], max_rows=7)
    (with_people,) = cost.evaluation_cost(config(judge, people=people))
    assert with_people.startswith(f"at most {10 * 2 * 2 * 3 + 7 * 2} questions")
    (open_ended,) = cost.evaluation_cost(config(judge, data=DataConfig(source=["world"])))
    assert "for each 1,000 posts" in open_ended


def test_the_longest_texts_at_the_given_prices() -> None:
    judge = JudgeConfig(
        kind="claude", model="new", input_usd_per_mtok=2.0, output_usd_per_mtok=8.0, spend_limit_usd=0.001
    )
    (sentence,) = cost.evaluation_cost(config(judge, temperatures=[1.0]))
    tokens = len(system_of(judge) + message_of(Question("", "", ""))) // 4 + 100 + 2 * 30
    usd = 60 * (tokens * 2 + 60 * 8) / 1e6
    assert f"by messages, {usd:.2f} USD" in sentence
    assert sentence.endswith("the spend limit is 0.001 USD: too little")


def test_nobody_pays_for_other_judges_and_unknown_prices_are_the_users_mistake() -> None:
    assert cost.evaluation_cost(config(JudgeConfig(kind="scores"))) == []
    with pytest.raises(UserError, match=r"'claude-new'.*set judge\.input_usd_per_mtok"):
        cost.evaluation_cost(config(JudgeConfig(kind="claude", model="claude-new")))


@pytest.mark.parametrize(
    ("model", "batch", "usd"),
    [("claude-opus-4-8", False, 17.5), ("claude-haiku-4-5-20251001", True, 1.75), ("claude-fable-5-1", False, 35.0)],
)
def test_replies_cost_what_the_price_list_says(model: str, batch: bool, usd: float) -> None:
    usage = Usage(500_000, 500_000, cache_creation_input_tokens=200_000, cache_read_input_tokens=2_500_000)
    assert prices_of(JudgeConfig(model=model)).usd(usage, batch=batch) == pytest.approx(usd)


def test_an_estimate_says_what_it_rests_on() -> None:
    judge = JudgeConfig(kind="claude")
    said = estimate(judge, prices_of(judge), [Question("p" * 4000, "a", "b")] * 100, batch=False)
    frame = len(system_of(judge) + message_of(Question("", "a", "b")))
    usd = 100 * ((frame + 4000) / 4 * 3 + 60 * 15) / 1e6
    assert said.startswith(f"100 questions to claude-sonnet-4-6 by messages, about {usd:.2f} USD (4 characters a token")
