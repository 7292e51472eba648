"""A function of an installed package as a judge."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from rlhf_engine.errors import ConfigError
from rlhf_engine.hooks import Hooks
from rlhf_plugins.judges.questions import Judgement, Question, asked_as_data, judgement_of, one_line
from rlhf_sdk.discovery import load_attribute

JudgeFunction = Callable[[list[dict[str, Any]]], Iterable[Any]]


class FunctionJudge:
    """Called with [{"index", "prompt", "first", "second"}], it yields {"index", "choice", "reason"} in any order."""

    paid_usd = None

    def __init__(self, target: str) -> None:
        self.name = target
        self.function = _loaded(target)
        self.problems: list[str] = []

    def ask(self, questions: Sequence[Question], hooks: Hooks) -> Iterator[Judgement]:
        for answer in self._answers(asked_as_data(questions)):
            hooks.safe_point()
            if judgement := judgement_of(answer, len(questions)):
                yield judgement
            else:
                said = f"{self.name} gave an answer without the index of a question: {answer!r}"
                self.problems.append(one_line(said))

    def _answers(self, asked: list[dict[str, Any]]) -> Iterator[Any]:
        try:
            yield from self.function(asked)
        except Exception as error:
            self.problems.append(one_line(f"{self.name} raised {type(error).__name__}: {error}"))


def _loaded(target: str) -> JudgeFunction:
    module, _, name = target.partition(":")
    if not module or not name:
        raise ConfigError(f"judge.function = {target!r}: write it as module:function")
    try:
        found: JudgeFunction = load_attribute(target)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"judge.function = {target!r} can't be loaded: {error}") from error
    return found
