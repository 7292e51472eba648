"""A Claude model as a judge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rlhf_engine.config import JudgeConfig
from rlhf_engine.hooks import Hooks
from rlhf_plugins.judges.batches import ask_by_batches
from rlhf_plugins.judges.messages import ask_by_messages
from rlhf_plugins.judges.prices import ANSWER_TOKENS, CHARACTERS_PER_TOKEN, Prices
from rlhf_plugins.judges.prompts import key_of, message_of, system_of
from rlhf_plugins.judges.questions import Judgement, Question
from rlhf_plugins.judges.sending import by_batches
from rlhf_plugins.judges.service import Service, Todo
from rlhf_plugins.judges.verdict_store import PaidVerdict, VerdictStore


class ClaudeJudge:
    """Pays for no question that any run below the same run root has paid for."""

    def __init__(self, config: JudgeConfig, store: VerdictStore) -> None:
        self.config, self.service = config, Service(config, store)
        self.name = config.model
        self.problems: list[str] = []

    @property
    def paid_usd(self) -> float:
        return self.service.paid_usd

    def check(self, hooks: Hooks) -> None:
        """Before anything is sampled: raises `ConfigError` for a key or model that is refused."""
        if trouble := self.service.check():
            hooks.note(f"judge: {self.config.model} can't be reached now, asked again later: {trouble}")

    def ask(self, questions: Sequence[Question], hooks: Hooks) -> Iterator[Judgement]:
        keys = {key_of(self.service.parameters(question)): index for index, question in enumerate(questions)}
        todo: Todo = {key: questions[index] for key, index in keys.items()}
        for verdict in self._verdicts(todo, hooks):
            yield Judgement(keys[verdict.key], verdict.choice, verdict.reason)
        for reason, count in self.service.unanswered.items():
            self.problems.append(f"no answer to {count} of {len(keys)} questions: {reason}")
        if self.service.stopped:
            self.problems.append(f"{len(todo)} of {len(keys)} questions not asked: {self.service.stopped}")

    def _verdicts(self, todo: Todo, hooks: Hooks) -> Iterator[PaidVerdict]:
        asked = len(todo)
        yield from self.service.take_known(todo)
        if not todo:
            return
        batch = by_batches(self.config, len(todo))
        usd = estimate(self.config, self.service.prices, list(todo.values()), batch=batch)
        hooks.note(f"judge: {asked - len(todo)} of {asked} answers are known; the others: {usd}")
        yield from (ask_by_batches if batch else ask_by_messages)(self.service, todo, hooks)


def estimate(config: JudgeConfig, prices: Prices, questions: Sequence[Question], *, batch: bool) -> str:
    """In words, with what it rests on."""
    system = system_of(config)
    usd = prices.estimate([system + message_of(question) for question in questions], batch=batch)
    return (
        f"{len(questions)} questions to {config.model} by {'batches' if batch else 'messages'}, about {usd:.2f} USD "
        f"({CHARACTERS_PER_TOKEN} characters a token, {ANSWER_TOKENS} tokens an answer; "
        f"spend limit {config.spend_limit_usd:g} USD)"
    )
