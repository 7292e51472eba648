"""The higher score wins: gold of the built-in world, or a reward model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rlhf_engine.eval.pairwise import Choice
from rlhf_engine.hooks import Hooks
from rlhf_plugins.judges.questions import Judgement, Question


class ScoreJudge:
    """`scores` are those of (prompt, response)."""

    paid_usd = None

    def __init__(self, name: str, scores: Mapping[tuple[str, str], float]) -> None:
        self.name, self.scores = name, scores
        self.problems: list[str] = []

    def ask(self, questions: Sequence[Question], hooks: Hooks) -> Iterator[Judgement]:
        for index, (prompt, first, second) in enumerate(questions):
            ours, theirs = self.scores[prompt, first], self.scores[prompt, second]
            choice: Choice = "tie" if ours == theirs else "first" if ours > theirs else "second"
            yield Judgement(index, choice, f"{ours:.4g} and {theirs:.4g}")
