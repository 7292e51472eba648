"""Reward hacking: proxy and second opinion over the distance from the SFT policy, detectors, alerts with examples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from rlhf_console.report.document import Block, Plot, Quotes, Section, Table, Text
from rlhf_console.report.naming import name_of
from rlhf_console.report.plot import Guide, Line
from rlhf_console.runs.store import LiveRun
from rlhf_sdk.checkpoints import checkpoint_name
from rlhf_sdk.events import Alert

CURVE = "reward_hacking"
"""The result of a run that took probes."""

DISTANCE = "sqrt(KL)"
MEASURED = ("proxy", "second")
FIT_POINTS = 60
ABOUT = (
    "Every so many updates the policy answered the same held-out prompts. Proxy: the score that training maximises. "
    "Second: {second}. Fit: that of Gao et al. 2022 (arXiv:2210.10760), d (alpha - beta ln d) with d = sqrt(KL)."
)


def is_about_hacking(alert: Alert, run: LiveRun) -> bool:
    """Alerts of the probe are those with examples."""
    return CURVE in run.summary.results and bool(alert.examples)


def other_alerts(run: LiveRun) -> list[Alert]:
    """What else the run was warned of."""
    return [alert for alert in run.summary.alerts if alert.severity != "info" and not is_about_hacking(alert, run)]


def hacking(runs: Sequence[LiveRun]) -> Section:
    """Of each run that took probes: the curve, the checkpoint that is best by second opinion, detectors, alerts."""
    blocks: list[Block] = []
    for run in runs:
        data = run.summary.results.get(CURVE)
        # Other people's plugins may mean something else by the name.
        with suppress(KeyError, TypeError, AttributeError, ValueError, IndexError):
            blocks += [*_of_run(run, data), *_alerts(run)] if data else []
    return Section("Reward hacking", blocks)


def _of_run(run: LiveRun, data: Mapping[str, Any]) -> list[Block]:
    name, (curve, *others) = name_of(run), data["tables"]
    second = data["second"]
    lines = _measured(curve)
    lines += _fit(lines, data["figures"])
    blocks: list[Block] = [Text(f"{name}. {ABOUT.format(second=second or 'none was named')}")]
    if len(lines[0].xs) > 1:
        blocks.append(Plot(f"{name}: over-optimisation", "points", lines, _guides(data), x_label="sqrt(KL in nats)"))
    blocks += [Table(table["columns"], table["rows"], f"{name}: {table['title']}") for table in (curve, *others)]
    return [*blocks, Text(best_probe(run))]


def _measured(curve: Mapping[str, Any]) -> list[Line]:
    """In the order of the distance, which is not always that of the updates."""
    at = {column: place for place, column in enumerate(curve["columns"])}
    rows = sorted(curve["rows"], key=lambda row: float(row[at[DISTANCE]]))
    found = {
        name: [(row[at[DISTANCE]], row[at[name]]) for row in rows if row[at[name]] is not None] for name in MEASURED
    }
    return [
        Line(name, [x for x, _ in points], [y for _, y in points], dotted=True)
        for name, points in found.items()
        if points
    ]


def _fit(measured: Sequence[Line], figures: Mapping[str, float]) -> list[Line]:
    """From where the second opinion began, as far as the policy went; nothing while there are too few probes."""
    if "fit_alpha" not in figures:
        return []
    second, alpha, beta = measured[-1], figures["fit_alpha"], figures["fit_beta"]
    distances = [second.xs[-1] * (place + 1) / FIT_POINTS for place in range(FIT_POINTS)]
    gains = [distance * (alpha - beta * math.log(distance)) for distance in distances]
    return [Line("fit", distances, [second.ys[0] + gain for gain in gains])]


def _guides(data: Mapping[str, Any]) -> list[Guide]:
    names = {"best_kl_nats": "best by second opinion", "fit_peak_kl_nats": "peak of the fit"}
    figures = data["figures"]
    return [Guide(max(figures[key], 0.0) ** 0.5, label, upright=True) for key, label in names.items() if key in figures]


def best_probe(run: LiveRun) -> str:
    """Where the second opinion was highest, whether that checkpoint is kept, and the fitted peak; empty if unknown."""
    # Other people's plugins may mean something else by the name.
    with suppress(KeyError, TypeError, AttributeError, ValueError):
        return _best(run, run.summary.results[CURVE]["figures"])
    return ""


def _best(run: LiveRun, figures: Mapping[str, float]) -> str:
    """The checkpoint is looked for: that of the last update is written after the probe has reported."""
    if "best_update" not in figures:
        return "Without a second opinion no probe is best."
    name = checkpoint_name(int(figures["best_update"]))
    kept = (run.directory.checkpoints / name).is_dir()
    where = f"its checkpoint is kept: {name}" if kept else "no checkpoint of it was kept (keep_best names the figure)"
    peak = figures.get("fit_peak_kl_nats")
    fitted = "has no peak within twice the KL that was seen" if peak is None else f"peaks at {peak:.3g} nats"
    return (
        f"Best by second opinion after update {figures['best_update']:.0f} ({figures['best_second']:.3g} at "
        f"{figures['best_kl_nats']:.3g} nats); {where}; the fit {fitted}."
    )


def _alerts(run: LiveRun) -> list[Block]:
    told = [alert for alert in run.summary.alerts if is_about_hacking(alert, run)]
    if not told:
        return [Text(f"{name_of(run)}: no detector fired, and proxy and second opinion did not part.")]
    rows = [[alert.step, alert.severity, alert.code, alert.message, alert.advice] for alert in told]
    table = Table(
        ["update", "severity", "alert", "message", "what to do"], rows, f"{name_of(run)}: alerts of the probe"
    )
    return [table, *(quoted(run, alert) for alert in told)]


def quoted(run: LiveRun, alert: Alert) -> Quotes:
    """The alert's examples."""
    texts = [text for each in alert.examples for text in (("prompt", each.prompt), ("response", each.response))]
    return Quotes(f"{name_of(run)}: {alert.code} after update {alert.step}, the responses that show it most", texts)
