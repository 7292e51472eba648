"""The curves of a run, in its plugin's panels, beside figures that others published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rlhf_console.headlines import declared, grouped_panels
from rlhf_console.report.document import Block, Plot, Section
from rlhf_console.report.naming import name_of
from rlhf_console.report.plot import Guide, Line
from rlhf_console.runs.store import LiveRun
from rlhf_sdk.spec import Panel

GUIDES: Mapping[str, Sequence[Guide]] = {
    "kl/sequence_nats": (Guide(27.0, "healthy at the end, 1B (Huang et al. 2024: 26-28)"),),
    "accuracy/valid": (Guide(0.628, "1B (Huang et al. 2024)"),),
    "eval/rouge_l": (Guide(0.247, "SFT, 1B (Huang et al. 2024)"),),
}
"""Figures on TL;DR by metric: of no meaning on other data."""

FEWEST_STEPS = 6
"""Fewer make no curve: the steps of an evaluation, say, are policies."""

TLDR_SOURCES = ("tldr", "summarize_from_feedback", "summarize-from-feedback")


def curves(runs: Sequence[LiveRun]) -> Section:
    """A plot for each panel that has values."""
    blocks: list[Block] = [plot for run in runs for plot in _plots(run)]
    return Section("Curves", blocks)


def _plots(run: LiveRun) -> list[Plot]:
    name, plots = name_of(run), []
    panels: Sequence[Panel] = declared(run.record.plugin).panels or grouped_panels(list(run.summary.metrics))
    for panel in panels:
        lines = [
            Line(metric, list(series.steps), list(series.values))
            for metric in panel.metrics
            if (series := run.summary.metrics.get(metric)) and len(series.steps) >= FEWEST_STEPS
        ]
        if lines:
            plots.append(Plot(f"{name}: {panel.title}", panel.unit, lines, _guides(run, panel)))
    return plots


def _guides(run: LiveRun, panel: Panel) -> list[Guide]:
    if not is_tldr(run):
        return []
    return [guide for metric in panel.metrics for guide in GUIDES.get(metric, ())]


def is_tldr(run: LiveRun) -> bool:
    """Whether the run's data are the TL;DR posts that the published figures are about."""
    data = run.record.config.get("data", {})
    source = str(data.get("source", "") if isinstance(data, Mapping) else "").lower()
    return any(known in source for known in TLDR_SOURCES)
