"""What stands above the charts of a run: state and progress, where the time goes, what needs attention."""

from __future__ import annotations

from dataclasses import dataclass

from rlhf_console.headlines import Declared
from rlhf_console.render import duration, size
from rlhf_console.runs.focus import Focus, Stage
from rlhf_console.runs.fold import Phase, RunSummary
from rlhf_console.tui.drawing.cells import Row, fit, join, spread, text_cells
from rlhf_console.tui.drawing.gauges import progress_bar
from rlhf_console.tui.drawing.run_rows import doing, steps_text
from rlhf_console.tui.drawing.states import STATE_LOOKS, alert_cells, state_cells
from rlhf_sdk.machine_samples import MachineSample
from rlhf_sdk.run_record import RunRecord
from rlhf_sdk.states import ENDED, State

BAR = 16
WIDE = 100
SHOWN_PHASES = 5
MUCH_BYTES = 4 << 20


@dataclass(frozen=True)
class Head:
    """What is known of the run that is shown, but for `unread_bytes` of its events."""

    record: RunRecord
    state: State
    summary: RunSummary
    reason: str
    machine: MachineSample | None
    declared: Declared
    unread_bytes: int = 0


def head_of(focus: Focus, declared: Declared) -> Head:
    """Reads the state, the reason of an end, and the newest machine sample."""
    shown = focus.shown
    state = shown.live.state
    over = state in ENDED or state is State.LOST
    reason = shown.reason() if over else shown.live.summary.reason
    return Head(
        shown.live.record,
        state,
        shown.live.summary,
        reason,
        None if over else shown.machine,
        declared,
        shown.live.unread_bytes,
    )


def head_rows(head: Head, width: int) -> list[Row]:
    """Three rows of `width` cells."""
    return [_progress(head, width), _time_and_memory(head, width), _attention(head, width)]


def _progress(head: Head, width: int) -> Row:
    summary = head.summary
    name = head.record.id if not head.record.profile else f"{head.record.id} · {head.record.profile}"
    left = join([state_cells(head.state), text_cells(name, "title")])
    eta = f"{duration(summary.eta_seconds)} left" if head.state is State.RUNNING and summary.eta_seconds else ""
    reading = f"reading, {size(head.unread_bytes)} to go" if head.unread_bytes > MUCH_BYTES else ""
    right = join([
        text_cells(reading, "warn"),
        text_cells(f"step {steps_text(summary)}" if steps_text(summary) else ""),
        progress_bar(summary, BAR if width >= WIDE else BAR // 2),
        text_cells(eta),
    ])  # fmt: skip
    return spread(left, right, width)


def _time_and_memory(head: Head, width: int) -> Row:
    return spread(_where_time_goes(head), _machine(head.machine), width)


def _where_time_goes(head: Head) -> Row:
    """What goes on now, or the phases of the newest step, longest first."""
    now = doing(head.summary)
    if now and head.state not in ENDED:
        return text_cells(now)
    phases = sorted(head.summary.phases.items(), key=lambda item: -item[1].total_seconds)
    shown = [_phase_cells(name, phase) for name, phase in phases if "/" not in name][:SHOWN_PHASES]
    seconds = head.summary.step_seconds[-1:]
    step = text_cells(f"{seconds[0]:.3g} s/step" if seconds else "")
    return join([step, *shown])


def _phase_cells(name: str, phase: Phase) -> Row:
    return join([text_cells(name, "dim"), text_cells(f"{phase.last_seconds:.2g} s")], gap=1)


def _machine(sample: MachineSample | None) -> Row:
    if sample is None:
        return []
    devices = [
        text_cells(f"GPU{device.index} {size(device.memory_used)}/{size(device.memory_total)}")
        for device in sample.devices
    ]
    return join([*devices, text_cells(f"RSS {size(sample.rss)}"), text_cells(f"CPU {sample.cpu_percent:.0f} %")])


def _attention(head: Head, width: int) -> Row:
    """The end if it was not a good one, else the newest alert, else the checks."""
    problem = head.declared.problem
    if head.reason and head.state is not State.FINISHED:
        why = text_cells(head.reason, STATE_LOOKS[head.state][1])
        return spread(why, text_cells("charts by metric name" if problem else "", "dim"), width)
    checks = _checks(head.summary)
    if head.summary.alerts:
        count = len(head.summary.alerts)
        more = text_cells(f"{count} alerts", "dim") if count > 1 else []
        return spread(alert_cells(head.summary.alerts[-1]), join([more, checks]), width)
    return fit(join([checks, text_cells(f"charts by metric name: {problem}" if problem else "", "dim")]), width)


def _checks(summary: RunSummary) -> Row:
    """How many sanity checks passed, and those that did not."""
    bad = [check for check in summary.checks.values() if check.status != "ok"]
    failed = [
        text_cells(f"✗ {check.name} {check.figure:.3g} (allowed {check.tolerance:.3g})", "alarm") for check in bad
    ]
    passed = len(summary.checks) - len(bad)
    return join([*failed, text_cells(f"✓ {passed} checks passed" if passed else "", "good")])


def stage_cells(stage: Stage, *, chosen: bool) -> Row:
    """A stage of a pipeline, in reverse if it is the one that is shown."""
    glyph, style = STATE_LOOKS[stage.state]
    name = text_cells(f" {stage.name} ", "chosen" if chosen else "" if stage.run_id else "dim")
    return text_cells(glyph, style) + name
