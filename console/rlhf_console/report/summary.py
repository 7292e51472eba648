"""What was found, in a few sentences that are made of the runs' own figures."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rlhf_console.render import number
from rlhf_console.report.document import Bullets, Section
from rlhf_console.report.hacking import CURVE, best_probe, is_about_hacking, other_alerts
from rlhf_console.report.naming import name_of
from rlhf_console.report.reward_model import verdict_of
from rlhf_console.runs.store import LiveRun

WIN_RATE = re.compile(r"(?P<judge>judge/)?(?P<policy>.+)/temperature_(?P<temperature>[\d.]+)/win_rate_vs_(?P<other>.+)")
LEAD = re.compile(r"(?P<policy>.+)/temperature_(?P<temperature>[\d.]+)/lead_over_best_of_n_at_equal_kl")
BOUNDS = ("_low", "_high")
REFERENCE = "reference"

Figures = Mapping[str, Any]


def summary(runs: Sequence[LiveRun], unfinished: Sequence[str]) -> Section:
    """What was found, other alerts, what is not finished."""
    sentences = findings(runs)
    if warned := sum(len(other_alerts(run)) for run in runs):
        sentences.append(f"{warned} other alert{'s' if warned > 1 else ''} below.")
    if unfinished:
        sentences.append(f"Not finished: {', '.join(unfinished)}. The figures are those of now.")
    return Section("In short", [Bullets(sentences)] if sentences else [])


def findings(runs: Sequence[LiveRun]) -> list[str]:
    """Win rates, best-of-n at equal KL, the reward model, signs of hacking; a sentence each."""
    compared = [sentence for run in runs for figures in _figures(run) for sentence in _compared(figures)]
    return [*compared, *(sentence for run in runs for sentence in (*_reward_model(run), *_hacking(run)))]


def _figures(run: LiveRun) -> Iterator[Figures]:
    for data in run.summary.results.values():
        figures = data.get("figures", {}) if isinstance(data, Mapping) else {}
        if isinstance(figures, Mapping):
            yield figures


def _compared(figures: Figures) -> Iterator[str]:
    yield from _win_rates(figures)
    yield from _leads(figures)


def _win_rates(figures: Figures) -> Iterator[str]:
    """Of each policy against all others; references against policies would say the same again."""
    rates: dict[tuple[str, str, str], list[str]] = {}
    for key, rate in figures.items():
        found = WIN_RATE.fullmatch(key)
        if found and found["policy"] != REFERENCE and not key.endswith(BOUNDS) and _has_interval(figures, key):
            place = found["policy"], found["temperature"], found["judge"] or ""
            rates.setdefault(place, []).append(f"{_with_interval(figures, key, rate)} against {found['other']}")
    for (policy, temperature, judge), against in rates.items():
        kl = figures.get(f"{policy}/temperature_{temperature}/kl_sequence_nats")
        at = f", {number(kl)} nats of KL a response" if isinstance(kl, float) and kl and not judge else ""
        won = f"win rate{' by the judge' if judge else ''} {', '.join(against)}"
        yield f"{policy} at temperature {temperature}{at}: {won}."


def _leads(figures: Figures) -> Iterator[str]:
    for key, lead in figures.items():
        found = LEAD.fullmatch(key)
        if found and _has_interval(figures, key):
            better = figures[f"{key}_low"] > 0
            word = "beats" if better else "is behind" if figures[f"{key}_high"] < 0 else "is level with"
            yield (
                f"{found['policy']} {word} best-of-n at the same KL: lead {_with_interval(figures, key, lead)}, "
                f"temperature {found['temperature']}."
            )


def _has_interval(figures: Figures, key: str) -> bool:
    return all(isinstance(figures.get(key + end), float) for end in ("", *BOUNDS))


def _with_interval(figures: Figures, key: str, value: float) -> str:
    return f"{value:.3f} [{figures[f'{key}_low']:.3f}, {figures[f'{key}_high']:.3f}]"


def _reward_model(run: LiveRun) -> Iterator[str]:
    data = run.summary.results.get("reward_model", {})
    accuracy, pairs = (data.get(key) for key in ("accuracy/valid", "pairs"))
    if isinstance(accuracy, float) and isinstance(pairs, float | int):
        gold = data.get("accuracy/gold")
        more = f", and with gold in {number(gold)}" if isinstance(gold, float) else ""
        yield f"{name_of(run)}: agrees with the labels of {number(accuracy)} of {int(pairs)} held-out pairs{more}."
    if verdict := verdict_of(run):
        yield f"{verdict}."


def _hacking(run: LiveRun) -> Iterator[str]:
    if CURVE not in run.summary.results:
        return
    told = [f"{alert.code} at update {alert.step}" for alert in run.summary.alerts if is_about_hacking(alert, run)]
    found = (
        f"signs of reward hacking: {', '.join(told)}" if told else "no sign of reward hacking on the probe's prompts"
    )
    yield f"{name_of(run)}: {found}. {best_probe(run)}".strip()
