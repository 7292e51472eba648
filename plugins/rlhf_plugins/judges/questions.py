"""What a judge is asked, and what it answers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, get_args

from rlhf_engine.eval.pairwise import Choice
from rlhf_engine.hooks import Hooks
from rlhf_sdk.scrubbing import scrub

CHOICES: tuple[Choice, ...] = get_args(Choice)
LONGEST_REASON = 300


class Question(NamedTuple):
    """Which of two responses to `prompt` is better, shown in this order."""

    prompt: str
    first: str
    second: str

    def turned(self) -> Question:
        return Question(self.prompt, self.second, self.first)


@dataclass(frozen=True)
class Judgement:
    """The answer to question number `index`; a `choice` of None is an answer that is no vote, for `reason`."""

    index: int
    choice: Choice | None
    reason: str


class Judge(Protocol):
    """Yields judgements as they come, in any order; what it can't answer it leaves out and says in `problems`."""

    name: str
    problems: list[str]

    @property
    def paid_usd(self) -> float | None:
        """What this run has paid so far; None where the judge costs nothing that is known here."""

    def ask(self, questions: Sequence[Question], hooks: Hooks) -> Iterator[Judgement]: ...


def choice_of(value: object) -> Choice | None:
    """`value` if it is a choice."""
    return next((choice for choice in CHOICES if choice == value), None)


def judgement_of(answer: Any, count: int) -> Judgement | None:
    """From what a judge outside said of one of `count` questions; None where it can't be told of which."""
    index = answer.get("index") if isinstance(answer, dict) else None
    if not isinstance(index, int) or not 0 <= index < count:
        return None
    choice, reason = choice_of(answer.get("choice")), str(answer.get("reason", ""))
    if choice is None:
        reason = f"choice {answer.get('choice')!r} is none of {', '.join(CHOICES)}"
    return Judgement(index, choice, one_line(reason))


def asked_as_data(questions: Sequence[Question]) -> list[dict[str, Any]]:
    """What a judge outside is given."""
    return [{"index": index, **question._asdict()} for index, question in enumerate(questions)]


def one_line(text: str) -> str:
    """Fit to be kept: one line, not too long, without keys that a judge may have repeated."""
    return " ".join(str(scrub(text)).split())[:LONGEST_REASON]


def digest(*parts: object) -> str:
    """sha256 of what JSON makes of `parts`, 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
