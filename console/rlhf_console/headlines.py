"""What a plugin declares for showing, fetched once: its headline figures and its panels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from rlhf_console import plugins
from rlhf_console.printable import printable
from rlhf_console.render import number
from rlhf_console.runs.store import LiveRun
from rlhf_sdk.spec import Panel
from rlhf_sdk.trainer import UserError


@lru_cache(maxsize=64)
def _declared(plugin: str) -> tuple[tuple[str, ...], tuple[Panel, ...]]:
    try:
        described = plugins.describe(plugin)
    except UserError:
        return (), ()
    panels = tuple(Panel(panel["title"], panel["metrics"], panel.get("unit", "")) for panel in described["panels"])
    return tuple(described["headline"]), panels


def headline(run: LiveRun) -> str:
    """The plugin's figures that matter, short names."""
    names = _declared(run.record.plugin)[0]
    shown = zip(short_names(names), (run.summary.latest(name) for name in names), strict=True)
    return "  ".join(f"{printable(name)} {number(value)}" for name, value in shown if value is not None)


def short_names(names: Sequence[str]) -> list[str]:
    """The last part of each metric's name, or the whole where two would look alike."""
    last = [name.rpartition("/")[2] for name in names]
    return [short if last.count(short) == 1 else name for name, short in zip(names, last, strict=True)]


def panels(run: LiveRun) -> list[Panel]:
    """The plugin's panels; for a plugin that is gone, one for each group of metric names."""
    declared = _declared(run.record.plugin)[1]
    if declared:
        return list(declared)
    groups: dict[str, list[str]] = {}
    for name in run.summary.metrics:
        groups.setdefault(name.partition("/")[0], []).append(name)
    return [Panel(group, names) for group, names in sorted(groups.items())]
