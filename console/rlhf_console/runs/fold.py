"""From events to what a reader wants to know of a run: the same events always give the same summary."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, cast

from rlhf_console.runs.series import MetricLog, Series
from rlhf_console.runs.timeline import Timeline
from rlhf_sdk.events import (
    Alert,
    Check,
    CheckpointSaved,
    ChildRun,
    CommandAcknowledged,
    Event,
    Finished,
    MemoryTable,
    MetricsLogged,
    Note,
    PhaseEnded,
    Progress,
    Result,
    Started,
    StateChanged,
    ValueSet,
)
from rlhf_sdk.phases import PEAKS
from rlhf_sdk.states import State

RECENT_STEPS = 20


@dataclass
class Phase:
    """Seconds spent in a phase, over all steps and the last time; how often it ended.

    `memory` is in bytes, of the last time; `highest` has the highest of the peaks.
    """

    total_seconds: float = 0.0
    last_seconds: float = 0.0
    times: int = 0
    memory: dict[str, int] = field(default_factory=dict)
    highest: dict[str, int] = field(default_factory=dict)


@dataclass
class RunSummary:
    """Everything that the events of one run say, in memory. Fed by `fold`.

    `checks` has each light as it was last told, `told_checks` every change of one; `values_set` what was set by hand,
    `pauses` when the run was held; `resumed_samples` the newest sample that each attempt went on from.
    """

    plugin: str = ""
    state: str = ""
    reason: str = ""
    attempt: int = 0
    step: int = 0
    total_steps: int = 0
    first_time: float = 0.0
    last_time: float = 0.0
    exit_code: int | None = None
    logged: MetricLog = field(default_factory=MetricLog)
    step_seconds: list[float] = field(default_factory=list)
    memory: Series = field(default_factory=Series)
    memory_table: MemoryTable | None = None
    timeline: Timeline = field(default_factory=Timeline)
    phases: dict[str, Phase] = field(default_factory=dict)
    phase: str = ""
    progress: Progress | None = None
    alerts: list[Alert] = field(default_factory=list)
    checks: dict[str, Check] = field(default_factory=dict)
    told_checks: list[Check] = field(default_factory=list)
    checkpoints: list[CheckpointSaved] = field(default_factory=list)
    children: dict[str, ChildRun] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    acknowledged: list[CommandAcknowledged] = field(default_factory=list)
    values_set: list[ValueSet] = field(default_factory=list)
    pauses: list[StateChanged] = field(default_factory=list)
    resumed_samples: dict[int, int] = field(default_factory=dict)
    unknown: int = 0

    @property
    def metrics(self) -> dict[str, Series]:
        return self.logged.by_name

    def latest(self, name: str) -> float | None:
        """The newest value of a metric."""
        series = self.metrics.get(name)
        return series.last if series else None

    @property
    def eta_seconds(self) -> float | None:
        """Time left at the pace of the recent steps; None before the first."""
        if not self.step_seconds or not self.total_steps:
            return None
        recent = self.step_seconds[-RECENT_STEPS:]
        return (self.total_steps - self.step) * sum(recent) / len(recent)


def fold(summary: RunSummary, events: Iterable[Event]) -> RunSummary:
    """Takes `events` in, in their order, and returns the same summary.

    A new attempt supersedes what was written after the step that it went on from.
    """
    for kind, alike in groupby(events, key=type):
        if kind is MetricsLogged:
            _log(summary, cast(list[MetricsLogged], list(alike)))
        else:
            for event in alike:
                _see(summary, event.time)
                _take(summary, event)
    return summary


def _see(summary: RunSummary, *times: float) -> None:
    summary.first_time = summary.first_time or next(filter(None, times), 0.0)
    summary.last_time = max(summary.last_time, *times)


def _take(summary: RunSummary, event: Event) -> None:
    match event:
        case Started():
            _start(summary, event)
        case StateChanged():
            summary.state, summary.reason = event.state, event.reason
            if event.state == State.PAUSED:
                summary.pauses.append(event)
        case PhaseEnded():
            _end_phase(summary, event)
        case MemoryTable():
            summary.memory_table = event
        case Progress():
            summary.progress = event
        case Alert():
            summary.alerts.append(event)
        case Check():
            summary.told_checks.append(event)
            summary.checks[event.name] = event
        case CheckpointSaved():
            summary.checkpoints = [saved for saved in summary.checkpoints if saved.name != event.name] + [event]
        case ChildRun():
            summary.children[event.stage] = event
        case Result():
            summary.results[event.name] = event.data
        case Note():
            summary.notes.append(event.text)
        case CommandAcknowledged():
            summary.acknowledged.append(event)
        case ValueSet():
            summary.values_set.append(event)
        case Finished():
            summary.exit_code, summary.reason = event.exit_code, event.reason or summary.reason
        case _:
            summary.unknown += 1


def _start(summary: RunSummary, event: Started) -> None:
    summary.plugin, summary.total_steps, summary.attempt = event.plugin, event.total_steps, event.attempt
    summary.step, summary.exit_code, summary.progress = event.step, None, None
    summary.resumed_samples[event.attempt] = event.resumed_sample_seq
    summary.told_checks = [check for check in summary.told_checks if check.seq <= event.resumed_seq]
    summary.checks = {check.name: check for check in summary.told_checks}
    summary.logged.forget_after(event.step)
    summary.memory.forget_after(event.step)
    summary.values_set = [value for value in summary.values_set if value.seq <= event.resumed_seq]
    summary.checkpoints = [saved for saved in summary.checkpoints if saved.step <= event.step]


def _log(summary: RunSummary, events: list[MetricsLogged]) -> None:
    _see(summary, *(event.time for event in events))
    summary.step, summary.progress = events[-1].step, None
    summary.step_seconds += [event.seconds for event in events[-RECENT_STEPS:]]
    del summary.step_seconds[:-RECENT_STEPS]
    summary.logged.log_all(events)


def _end_phase(summary: RunSummary, event: PhaseEnded) -> None:
    phase = summary.phases.setdefault(event.name, Phase())
    phase.total_seconds += event.seconds
    phase.last_seconds, phase.memory = event.seconds, event.memory
    phase.times += event.count
    for name in filter(event.memory.__contains__, PEAKS):
        phase.highest[name] = max(phase.highest.get(name, 0), event.memory[name])
    summary.phase = event.name
    summary.timeline.end_phase(event, summary.memory_table)
    of_process = 0 if summary.timeline.on_device else event.memory.get("rss_peak") or event.memory.get("rss")
    used = event.memory.get("peak") or of_process
    if used:
        summary.memory.add_highest(event.step, float(used), event.time)
