"""Verdicts that somebody gave before, found again by what was compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from rlhf_engine.errors import ConfigError
from rlhf_engine.eval.pairwise import Choice
from rlhf_engine.hooks import Hooks
from rlhf_plugins.judges.questions import Judgement, Question


class Verdict(msgspec.Struct, frozen=True):
    """One line of a file of verdicts."""

    prompt: str
    first: str
    second: str
    choice: Choice | None
    reason: str = ""

    @property
    def question(self) -> Question:
        return Question(self.prompt, self.first, self.second)


class RecordedJudge:
    """Answers what the file has, in the order shown there; the rest it leaves out."""

    name = "recorded verdicts"
    paid_usd = None

    def __init__(self, file: Path) -> None:
        self.verdicts = read_verdicts(file)
        self.problems: list[str] = []

    def ask(self, questions: Sequence[Question], hooks: Hooks) -> Iterator[Judgement]:
        missing = 0
        for index, question in enumerate(questions):
            if verdict := self.verdicts.get(question):
                yield Judgement(index, verdict.choice, verdict.reason)
            else:
                missing += 1
        if missing:
            self.problems.append(f"no recorded verdict on {missing} of {len(questions)} questions")


def read_verdicts(file: Path) -> dict[Question, Verdict]:
    """Raises `ConfigError` for a line that is no verdict."""
    try:
        lines = file.read_text().splitlines()
    except OSError as error:
        raise ConfigError(f"judge.recorded: {file} can't be read: {error.strerror}") from error
    found = {}
    for number, line in enumerate(lines, start=1):
        try:
            verdict = msgspec.json.decode(line, type=Verdict)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"judge.recorded: {file} line {number}: {error}") from error
        found[verdict.question] = verdict
    return found
