"""Asks a judge about texts: each question once, in both orders, what is answered kept as it comes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from rlhf_engine.eval.pairwise import Answer
from rlhf_engine.hooks import Hooks
from rlhf_plugins.judges.questions import Judge, Question
from rlhf_plugins.judges.recorded import Verdict
from rlhf_sdk.files import make_private_directory
from rlhf_sdk.journal import LineFile
from rlhf_sdk.tail import Tail

ASKED = "judge: answers"

Verdicts = Mapping[Question, Verdict]


def ask_once(judge: Judge, questions: Iterable[Question], file: Path, hooks: Hooks) -> Verdicts:
    """By question; those without an answer are missing.

    `file` has the verdicts so far, and gets the new ones as they come: a run that was stopped goes on there. It can be
    given as `judge.recorded`.
    """
    make_private_directory(file.parent)
    wanted = dict.fromkeys(questions)
    found = {verdict.question: verdict for verdict in Tail(file, msgspec.json.Decoder(Verdict).decode)}
    missing = [question for question in wanted if question not in found]
    record = LineFile(file)
    for judgement in judge.ask(missing, hooks):
        question = missing[judgement.index]
        found[question] = Verdict(*question, choice=judgement.choice, reason=judgement.reason)
        record.append(msgspec.json.encode(found[question]) + b"\n")
        hooks.progress(ASKED, len(found), len(wanted))
    record.sync()
    record.close()
    return found


def questions_about(prompts: Sequence[str], own: Sequence[str], others: Sequence[str]) -> Iterator[Question]:
    """Both orders of every pair; of two equal texts neither is better, so nothing is asked."""
    for prompt, ours, theirs in zip(prompts, own, others, strict=True):
        if ours != theirs:
            question = Question(prompt, ours, theirs)
            yield from (question, question.turned())


def answers_about(
    prompts: Sequence[str], own: Sequence[str], others: Sequence[str], verdicts: Verdicts
) -> Iterator[Answer]:
    """Of the same pairs as `questions_about`; two equal texts tie."""
    for pair, (prompt, ours, theirs) in enumerate(zip(prompts, own, others, strict=True)):
        question = Question(prompt, ours, theirs)
        for own_first, shown in ((True, question), (False, question.turned())):
            if ours == theirs:
                yield Answer(pair, own_first, "tie")
            elif shown in verdicts:
                yield Answer(pair, own_first, verdicts[shown].choice)
            else:
                yield Answer(pair, own_first, None)
