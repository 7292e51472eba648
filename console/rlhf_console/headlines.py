"""What a plugin declares for showing, fetched once: its headline figures and its panels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import msgspec

from rlhf_console import plugins
from rlhf_console.printable import printable
from rlhf_console.render import number
from rlhf_console.runs.listing import ListedRun
from rlhf_console.runs.store import LiveRun
from rlhf_sdk.imported import PLUGIN as IMPORTED
from rlhf_sdk.spec import Panel, SampleColumn
from rlhf_sdk.trainer import UserError


@dataclass(frozen=True)
class Declared:
    """Names of the metrics that matter, charts, and figures of samples; `problem` says why a plugin that can't be asked
    has none."""

    headline: tuple[str, ...] = ()
    panels: tuple[Panel, ...] = ()
    sample_columns: tuple[SampleColumn, ...] = ()
    problem: str = ""


@lru_cache(maxsize=64)
def declared(plugin: str) -> Declared:
    """What `plugin` declares, nothing for runs from elsewhere. May take seconds the first time."""
    if plugin == IMPORTED:
        return Declared()
    try:
        described = plugins.describe(plugin)
    except UserError as error:
        return Declared(problem=str(error))
    shown = {name: described[name] for name in ("headline", "panels", "sample_columns")}
    return msgspec.convert(shown, Declared)


def headline(run: LiveRun | ListedRun) -> str:
    """The plugin's figures that matter, short names."""
    names = declared(run.record.plugin).headline
    shown = zip(short_names(names), (run.summary.latest(name) for name in names), strict=True)
    return "  ".join(f"{printable(name)} {number(value)}" for name, value in shown if value is not None)


def short_names(names: Sequence[str]) -> list[str]:
    """The last part of each metric's name, or the whole where two would look alike."""
    last = [name.rpartition("/")[2] for name in names]
    return [short if last.count(short) == 1 else name for name, short in zip(names, last, strict=True)]


def shortest_names(names: Sequence[str]) -> list[str]:
    """The first part of each name where it tells them apart, else the last part, else the whole."""
    groups = [name.partition("/")[0] for name in names]
    rest = [name for name, group in zip(names, groups, strict=True) if groups.count(group) > 1]
    short = dict(zip(rest, short_names(rest), strict=True))
    return [short.get(name, group) for name, group in zip(names, groups, strict=True)]


def grouped_panels(metrics: Sequence[str]) -> list[Panel]:
    """One panel for each group of metric names, for a plugin that declares none."""
    groups: dict[str, list[str]] = {}
    for name in metrics:
        groups.setdefault(name.partition("/")[0], []).append(name)
    return [Panel(group, names) for group, names in sorted(groups.items())]
