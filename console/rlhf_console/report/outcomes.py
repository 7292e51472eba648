"""What came of it: tables of results, sanity lights, alerts, and samples that a rule has chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from rlhf_console.report.document import Block, Quotes, Section, Table, Text
from rlhf_console.report.hacking import CURVE, other_alerts, quoted
from rlhf_console.report.naming import name_of
from rlhf_console.report.reward_model import HELD_OUT, READINESS
from rlhf_console.runs.focus import OpenRun
from rlhf_console.runs.pairs import MEASURES, Match, Side, matches_of, sides_of
from rlhf_console.runs.store import LiveRun
from rlhf_sdk.events import Check, Sample

ELSEWHERE = (CURVE, HELD_OUT, READINESS)
"""Results that have sections of their own."""

WIN_RATE = "win rate"
INTERVALS = (
    "Win rate: the share of prompts on which a policy's response is the better one, ties one half. In brackets the "
    "95 % bootstrap interval, resampled by post; KL in nats a response."
)
RULE = "The pair with the largest gain, the middle one, and the one with the largest loss"


def results(runs: Sequence[LiveRun]) -> Section:
    """Every table that a run ended with, win rates with their intervals; else its figures."""
    tables: list[Table] = []
    for run in runs:
        for name, data in run.summary.results.items():
            title = f"{name_of(run)}: {name}"
            if name not in ELSEWHERE:
                tables += _tables(title, data) or [Table(["figure", "value"], list(_scalars(data).items()), title)]
    explained = any(WIN_RATE in str(column) for table in tables for column in table.columns)
    return Section("Results", [*([Text(INTERVALS)] if explained else []), *tables])


def _tables(title: str, data: Mapping[str, Any]) -> list[Table]:
    # Other people's plugins may mean something else by the name.
    with suppress(KeyError, TypeError, AttributeError):
        return [Table(part["columns"], part["rows"], f"{title}: {part['title']}") for part in data["tables"]]
    return []


def _scalars(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if isinstance(value, int | float | str)}


def checks(runs: Sequence[LiveRun]) -> Section:
    """The sanity lights as they were last, those first that are not ok."""
    rows = [
        [name_of(run), check.status, check.name, check.figure, check.tolerance]
        for run in runs
        for check in sorted(run.summary.checks.values(), key=_worst_first)
    ]
    return Section("Sanity lights", [Table(["stage", "state", "light", "figure", "threshold"], rows)] if rows else [])


def _worst_first(check: Check) -> int:
    return ("fail", "warn", "ok").index(check.status)


def warnings(runs: Sequence[LiveRun]) -> Section:
    """Every alert but those of the probe, with its examples where it has any."""
    told = [(run, alert) for run in runs for alert in other_alerts(run)]
    if not told:
        return Section("Alerts", [Text("None, but for those of reward hacking above, if any.")])
    rows = [[name_of(run), alert.step, alert.severity, alert.code, alert.message, alert.advice] for run, alert in told]
    table = Table(["stage", "step", "severity", "alert", "message", "what to do"], rows)
    return Section("Alerts", [table, *(quoted(run, alert) for run, alert in told if alert.examples)])


def samples(runs: Sequence[LiveRun]) -> Section:
    """Responses side by side: of an evaluation its policies, of training the first samples and the newest."""
    blocks: list[Block] = []
    for run in runs:
        for left, right in _compared(_sides(run)):
            blocks += _chosen(run, left, right)
    if blocks:
        blocks.insert(0, Text(f"{RULE}, of all prompts that both sides answered; not chosen by hand."))
    return Section("Samples", blocks)


def _sides(run: LiveRun) -> list[Side]:
    """By tag; of training, where a tag comes again and again, the first and the newest sample of each prompt."""
    opened = OpenRun(run)
    opened.samples.read_all()
    return [side for side in sides_of(opened) if not isinstance(side.when, int)]


def _compared(sides: Sequence[Side]) -> list[tuple[Side, Side]]:
    """The first side that has others with the same prompts, with each of those of its kind: of one temperature, say."""
    for place, first in enumerate(sides):
        common = [side for side in sides[place + 1 :] if matches_of((first, side), "prompt")]
        alike = [side for side in common if side.kind == first.kind] or common[:1]
        if alike:
            return [(first, side) for side in alike]
    return []


def _chosen(run: LiveRun, left: Side, right: Side) -> list[Block]:
    matches = matches_of((left, right), "largest gain")
    if matches[0].gain is None:
        picked = {"first prompt": matches[0]}
    else:
        picked = {"largest gain": matches[0], "middle": matches[len(matches) // 2], "largest loss": matches[-1]}
    return [
        Quotes(f"{name_of(run)}, {right.name} against {left.name}: {why}", _texts(match, left, right))
        for why, match in picked.items()
    ]


def _texts(match: Match, left: Side, right: Side) -> list[tuple[str, str]]:
    pairs = [(side, side.sample(row)) for side, row in zip((left, right), match.rows, strict=True)]
    found = [(side, sample) for side, sample in pairs if sample is not None]
    texts = [("prompt", sample.prompt) for _, sample in found[:1]]
    texts += [("reference", sample.reference) for _, sample in found[:1] if sample.reference]
    return texts + [(f"{side.name}{_score(sample)}", sample.response) for side, sample in found]


def _score(sample: Sample) -> str:
    return next((f" ({name} {sample.metrics[name]:.3g})" for name in MEASURES if name in sample.metrics), "")
