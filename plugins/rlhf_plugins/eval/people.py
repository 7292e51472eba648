"""People beside the judge in an evaluation: the same pairs of texts for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlhf_engine.config import EvalConfig
from rlhf_engine.data.formatting import response_tokens
from rlhf_engine.data.people import People, TextPair
from rlhf_engine.eval.intervals import wins
from rlhf_engine.eval.pairwise import outcomes
from rlhf_engine.eval.people import Beside
from rlhf_engine.eval.policies import Evaluator
from rlhf_engine.hooks import Hooks
from rlhf_engine.rollout import Rollout
from rlhf_plugins.eval.judging import VERDICTS_FILE
from rlhf_plugins.judges.asking import answers_about, ask_once, questions_about
from rlhf_plugins.judges.questions import Judge

REWARD_MODEL = "reward model"
Credits = list[float | None]


def beside_people(
    people: People, judge: Judge | None, evaluator: Evaluator, config: EvalConfig, data: Path, hooks: Hooks
) -> Beside:
    """Asks the judge, if there is one, and the reward model, if there is one, about every pair whose post is known."""
    asked = [row for row, pair in enumerate(people.pairs) if pair.prompt]
    pairs = [people.pairs[row] for row in asked]
    found: dict[str, Credits] = {}
    if judge is not None and pairs:
        found[judge.name] = judge_credits(judge, pairs, data / VERDICTS_FILE, hooks)
    if evaluator.reward_model is not None and pairs:
        found[REWARD_MODEL] = reward_model_credits(evaluator, pairs, config.people.max_response_tokens)
    judges = {name: _placed(credits, asked, len(people)) for name, credits in found.items()}
    return Beside(people, judges, config.bootstrap, config.seed)


def judge_credits(judge: Judge, pairs: Sequence[TextPair], file: Path, hooks: Hooks) -> Credits:
    """Of the first text of each pair, as in a match of policies: both orders, what differs is a tie."""
    prompts = [pair.prompt.text for pair in pairs if pair.prompt]
    first, second = [pair.first for pair in pairs], [pair.second for pair in pairs]
    verdicts = ask_once(judge, questions_about(prompts, first, second), file, hooks)
    return outcomes(list(answers_about(prompts, first, second, verdicts)), len(pairs))


def reward_model_credits(evaluator: Evaluator, pairs: Sequence[TextPair], limit: int) -> Credits:
    """By the higher score, ties one half."""
    texts = [text for pair in pairs for text in (pair.first, pair.second)]
    rollout = Rollout.of_texts(
        [pair.prompt.tokens for pair in pairs if pair.prompt for _ in range(2)],
        [response_tokens(text, evaluator.tokenizer, limit) for text in texts],
        eos_id=evaluator.eos_id,
        pad_id=evaluator.pad_id,
        device=evaluator.baseline.device,
    )
    scores = evaluator.proxy_scores(rollout)
    return [*wins(scores[::2], scores[1::2]).tolist()]


def _placed(credits: Credits, rows: Sequence[int], count: int) -> Credits:
    """`credits` at `rows` of `count`, None elsewhere."""
    known: dict[int, Any] = dict(zip(rows, credits, strict=True))
    return [known.get(row) for row in range(count)]
