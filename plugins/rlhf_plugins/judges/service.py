"""The Anthropic API as the judge uses it: one client, its errors in words, and what may still be spent."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from rlhf_engine.config import JudgeConfig
from rlhf_engine.errors import ConfigError
from rlhf_plugins.judges.prices import prices_of
from rlhf_plugins.judges.prompts import Reply, message_of, parameters, read_reply, system_of
from rlhf_plugins.judges.questions import Question, one_line
from rlhf_plugins.judges.verdict_store import PaidVerdict, VerdictStore

if TYPE_CHECKING:
    from anthropic import Anthropic, APIError

KEY = "ANTHROPIC_API_KEY"
REFUSED_FOR_ALL = {
    401: f"the key in {KEY} is refused",
    402: "the account can't pay",
    403: f"the key in {KEY} may not do that",
    404: "no such model, or not for this key",
}
"""Status codes that every further request would get too."""
REFUSED_FOR_ONE = (400, 413, 422)
"""Status codes that say something of that one request."""

Todo = dict[str, Question]
"""Questions without an answer, by key."""


class Failure(NamedTuple):
    """Why there is no reply. `of_all`: no other request would get one; `of_one`: the others may."""

    reason: str
    of_all: bool = False
    of_one: bool = False
    usd_at_most: float = 0.0


def make_client(config: JudgeConfig) -> Anthropic:
    """Raises `ConfigError` without a key. Where the service is, the SDK takes from the environment, never a config."""
    from anthropic import Anthropic

    key = os.environ.get(KEY)
    if not key:
        raise ConfigError(f"judge.kind = 'claude' needs a key: set {KEY} in the environment")
    return Anthropic(api_key=key, max_retries=config.retries, timeout=config.timeout_seconds)


class Service:
    """`stopped` says why nothing more is asked; `unanswered` counts questions by why they have no answer."""

    def __init__(self, config: JudgeConfig, store: VerdictStore) -> None:
        self.config, self.store = config, store
        self.prices = prices_of(config)
        self.client = make_client(config)
        self.system = system_of(config)
        self.stopped = ""
        self.unanswered: Counter[str] = Counter()
        self._uncertain_usd = 0.0

    @property
    def paid_usd(self) -> float:
        """By this run; a reply that could not be read counts as the dearest that it can have been."""
        return self.store.paid_usd() + self._uncertain_usd

    def check(self) -> str:
        """What is wrong with the connection, if anything. Raises `ConfigError` where key or model are refused."""
        from anthropic import APIError

        try:
            self.client.models.retrieve(self.config.model)
        except APIError as error:
            failure = failure_of(error)
            if failure.of_all:
                raise ConfigError(f"judge.model = {self.config.model!r}: {failure.reason}") from error
            return failure.reason
        return ""

    def parameters(self, question: Question) -> dict[str, Any]:
        return parameters(self.config, question)

    def send(self, question: Question) -> Reply | Failure:
        """One request to the Messages API; the SDK tries again where the service is busy."""
        from anthropic import APIError

        try:
            return reply_of(self.client.messages.create(**self.parameters(question)))
        except APIError as error:
            return failure_of(error)
        except ValueError as error:
            reason = one_line(f"a reply could not be read: {error}")
            return Failure(reason, of_one=True, usd_at_most=self.at_most(question, batch=False))

    def at_most(self, question: Question, *, batch: bool) -> float:
        text = self.system + message_of(question)
        return self.prices.at_most(text, self.config.max_output_tokens, batch=batch)

    def next_questions(self, todo: Todo, count: int, *, batch: bool) -> Todo:
        """The first of `todo`, at most `count`, that can be paid for whatever they cost; none left: `stopped`."""
        left, taken = self.config.spend_limit_usd - self.paid_usd, Todo()
        for key, question in list(todo.items())[:count]:
            left -= self.at_most(question, batch=batch)
            if left < 0:
                break
            taken[key] = question
        if todo and not taken:
            limit = f"judge.spend_limit_usd = {self.config.spend_limit_usd:g}"
            self.stopped = f"{limit} could be passed by the next question ({self.paid_usd:.4f} USD spent)"
        return taken

    def take_known(self, todo: Todo) -> list[PaidVerdict]:
        """Verdicts that are there by now, taken out of `todo`."""
        known = self.store.known()
        found = [known[key] for key in todo if key in known]
        for verdict in found:
            del todo[verdict.key]
        return found

    def settle(self, replies: Mapping[str, Reply | Failure], *, batch: bool) -> list[PaidVerdict]:
        """Keeps what was paid for, and counts what failed; where all failed, it would go on so: `stopped`."""
        failures = [found for found in replies.values() if isinstance(found, Failure)]
        verdicts = [
            self._verdict(key, found, batch) for key, found in replies.items() if not isinstance(found, Failure)
        ]
        self.store.add(verdicts)
        self._uncertain_usd += sum(failure.usd_at_most for failure in failures)
        self.unanswered.update(failure.reason for failure in failures)
        hopeless = [failure for failure in failures if failure.of_all]
        its_own_fault = len(failures) == 1 and failures[0].of_one
        if hopeless or (failures and not verdicts and not its_own_fault):
            self.stopped = (hopeless or failures)[0].reason
        return verdicts

    def _verdict(self, key: str, reply: Reply, batch: bool) -> PaidVerdict:
        choice, reason = read_reply(reply)
        usd = self.prices.usd(reply.usage, batch=batch)
        return PaidVerdict(key=key, choice=choice, reason=reason, usd=usd, run=self.store.run)


def reply_of(message: Any) -> Reply:
    """From the SDK's message. Raises ValueError for what is none."""
    from anthropic.types import Message

    if not isinstance(message, Message):
        raise ValueError(f"{message!r:.200}")
    return msgspec.convert(message.model_dump(warnings=False), Reply)


def failure_of(error: APIError) -> Failure:
    """In the words of the service, where it has some."""
    status = getattr(error, "status_code", None)
    body = error.body if isinstance(error.body, dict) else {}
    told = body.get("error", {})
    said = told.get("message") if isinstance(told, dict) else None
    reason = one_line(f"{status or type(error).__name__}: {said or error.message}")
    if status in REFUSED_FOR_ALL:
        return Failure(f"{REFUSED_FOR_ALL[status]} ({reason})", of_all=True)
    return Failure(reason, of_one=status in REFUSED_FOR_ONE)
