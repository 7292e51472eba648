"""The judge in an evaluation: every policy against the baseline and against the references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlhf_engine.errors import ConfigError
from rlhf_engine.eval.judged import Judged, Match, figures_of, judged_tables, liking_for_a_place
from rlhf_engine.eval.table import REFERENCE, Comparison, judge_of
from rlhf_engine.hooks import Hooks
from rlhf_plugins.judges.asking import Verdicts, answers_about, ask_once, questions_about
from rlhf_plugins.judges.questions import Judge
from rlhf_plugins.judges.scores import ScoreJudge

VERDICTS_FILE = "verdicts.jsonl"
Report = dict[str, Any]


def matches_of(comparisons: Sequence[Comparison]) -> list[Match]:
    """Of every temperature: others against the baseline, all against the references where there are any."""
    return [match for comparison in comparisons for match in _matches(comparison)]


def _matches(comparison: Comparison) -> list[Match]:
    opponents = {comparison.baseline: comparison.policies[comparison.baseline]}
    if comparison.references is not None:
        opponents[REFERENCE] = comparison.references
    return [
        Match(name, other, comparison.temperature, responses, others, comparison.resampling)
        for other, others in opponents.items()
        for name, responses in comparison.policies.items()
        if name != other
    ]


def score_judge(prompts: Sequence[str], matches: Sequence[Match]) -> Judge:
    """By gold where there is one, else by the reward model. Raises `ConfigError` where there is neither."""
    scores: dict[tuple[str, str], float] = {}
    name = ""
    for match in matches:
        for responses in (match.responses, match.others):
            name, values = judge_of(responses)
            scores |= dict(zip(zip(prompts, responses.texts, strict=True), values, strict=False))
    if matches and not name:
        raise ConfigError("eval.judge.kind = 'scores': there is no gold here; set eval.reward_model")
    return ScoreJudge(name, scores)


def judged_report(judge: Judge, prompts: Sequence[str], matches: Sequence[Match], data: Path, hooks: Hooks) -> Report:
    """Tables, figures, and what went wrong: each pair of texts is asked about once, whichever matches it is in.

    Prompts take turns: where a judge stops early, every match has about as many answers.
    """
    sides = [(match.responses.texts, match.others.texts) for match in matches]
    questions = [
        question
        for row, prompt in enumerate(prompts)
        for own, others in sides
        for question in questions_about([prompt], [own[row]], [others[row]])
    ]
    verdicts = ask_once(judge, questions, data / VERDICTS_FILE, hooks)
    judged = [
        Judged(match, list(answers_about(prompts, own, others, verdicts)))
        for match, (own, others) in zip(matches, sides, strict=True)
    ]
    problems = [*judge.problems, *filter(None, [liking_for_a_place(judged)])]
    figures = dict(figures_of(judged)) | _counts(judge, dict.fromkeys(questions), verdicts)
    tables = [*judged_tables(judge.name, judged), _counts_table(judge, figures, problems)]
    return {"tables": tables, "figures": figures, "problems": problems}


def _counts(judge: Judge, questions: Mapping[Any, None], verdicts: Verdicts) -> dict[str, float]:
    choices = [verdicts[question].choice for question in questions if question in verdicts]
    counts = {
        "judge/questions": float(len(questions)),
        "judge/answers": float(len(choices)),
        "judge/answers_without_vote": float(choices.count(None)),
    }
    paid = judge.paid_usd
    return counts if paid is None else counts | {"judge/paid_usd": paid}


def _counts_table(judge: Judge, figures: Mapping[str, float], problems: Sequence[str]) -> Report:
    names = [name for name in figures if name.count("/") == 1]
    rows = [[name.removeprefix("judge/").replace("_", " "), figures[name]] for name in names]
    rows += [["problem", problem] for problem in problems]
    return {"title": f"Asked of {judge.name}", "columns": ["what", "how much"], "rows": rows}
