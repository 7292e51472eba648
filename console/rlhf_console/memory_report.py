"""What a run's events say of its memory, beside what was planned: pure, as plain data and as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rlhf_console.plan_text import PEAK
from rlhf_console.printable import printable
from rlhf_console.render import size, table
from rlhf_console.runs.fold import Phase, RunSummary
from rlhf_sdk.events import MemoryTable
from rlhf_sdk.machine_samples import MachineSample
from rlhf_sdk.memory_forecast import steps_until

HOW_PLANNED = "(planned: for the configured number of rows, each of the longest length)"
AT_THE_END = ("rss", "allocated", "reserved", "others")
KINDS = ("weights", "gradients", "optimizer", "experience")
ALWAYS, FRAMEWORK = "always", "framework"
ON_DEVICE, OF_PROCESS = "device", "process"


def memory_report(
    summary: RunSummary, plan: Iterable[Mapping[str, Any]], newest: MachineSample | None
) -> dict[str, Any]:
    """Bytes by role and by phase, the peak and its limit, the steps until it runs out, and the plan for each phase.

    `plan` has rows of `what`, `phase` and `bytes`; `newest` is the machine's newest sample, which knows the limit of a
    process.
    """
    on_device = _has_device(summary)
    planned = planned_by_phase(plan, with_framework=not on_device)
    phases = {name: _phase(name, phase, planned, on_device=on_device) for name, phase in summary.phases.items()}
    peak = max((figures["peak"] for figures in phases.values()), default=0)
    limit = _limit(summary, newest)
    left = steps_until(limit, summary.memory.values) if limit else None
    return {
        "where": ON_DEVICE if on_device else OF_PROCESS,
        "table": _roles(summary.memory_table),
        "unaccounted": summary.memory_table.unaccounted if summary.memory_table else None,
        "phases": phases,
        "peak": peak,
        "peak_phase": max(phases, key=lambda name: (phases[name]["peak"], name.count("/")), default=""),
        "limit": limit,
        "steps_seen": summary.step,
        "steps_left": left,
    }


def planned_by_phase(plan: Iterable[Mapping[str, Any]], *, with_framework: bool) -> dict[str, int]:
    """The plan's total for each of its phases: what stays, and what the phase needs on top of it.

    Libraries (`framework`) are in a process's memory, but not in what torch allocates on a device.
    """
    left_out = {PEAK} if with_framework else {PEAK, FRAMEWORK}
    rows = [row for row in plan if row["what"] not in left_out]
    stays = sum(row["bytes"] for row in rows if row["phase"] == ALWAYS)
    phases = dict.fromkeys(row["phase"] for row in rows if row["phase"] != ALWAYS)
    return {phase: stays + sum(row["bytes"] for row in rows if row["phase"] == phase) for phase in phases}


def report_text(report: Mapping[str, Any]) -> str:
    """Tables for people."""
    parts = [_roles_text(report), _phases_text(report), outlook(report)]
    return "\n\n".join(part for part in parts if part)


def _has_device(summary: RunSummary) -> bool:
    return any("peak" in phase.highest for phase in summary.phases.values())


def _phase(name: str, phase: Phase, planned: Mapping[str, int], *, on_device: bool) -> dict[str, Any]:
    figures = {key: value for key, value in phase.memory.items() if key in AT_THE_END}
    of_process = phase.highest.get("rss_peak", phase.memory.get("rss", 0))
    return {
        "seconds": phase.total_seconds,
        "times": phase.times,
        "peak": phase.highest.get("peak", 0) if on_device else of_process,
        "process_peak": phase.highest.get("rss_peak"),
        "planned": planned.get(name.rpartition("/")[2]),
        **figures,
    }


def _limit(summary: RunSummary, newest: MachineSample | None) -> int | None:
    """Of the device, less what others use there; else what the process may have."""
    last = [phase.memory for phase in summary.phases.values() if "limit" in phase.memory]
    if last:
        return int(last[-1]["limit"] - last[-1].get("others", 0))
    if newest is None:
        return None
    return newest.cgroup_limit or newest.rss + newest.memory_available


def _roles(told: MemoryTable | None) -> dict[str, dict[str, int]]:
    roles: dict[str, dict[str, int]] = {}
    for row in told.rows if told else []:
        roles.setdefault(row.role, {})[row.kind] = row.bytes
    return roles


def _roles_text(report: Mapping[str, Any]) -> str:
    roles: dict[str, dict[str, int]] = report["table"]
    if not roles:
        return ""
    rows = [[role or "(all)", *_cells(kinds), size(sum(kinds.values()))] for role, kinds in roles.items()]
    accounted = sum(sum(kinds.values()) for kinds in roles.values())
    of = "on the device" if report["where"] == ON_DEVICE else "of the process: libraries, and what the allocator keeps"
    unaccounted = f"unaccounted: {size(report['unaccounted'])} {of}"
    return "\n".join([table(["role", *KINDS, "total"], rows), "", f"accounted: {size(accounted)}", unaccounted])


def _cells(kinds: Mapping[str, int]) -> list[str]:
    return [size(kinds[kind]) if kind in kinds else "-" for kind in KINDS]


def _phases_text(report: Mapping[str, Any]) -> str:
    phases: dict[str, dict[str, Any]] = report["phases"]
    if not phases:
        return ""
    columns = ["phase", "times", "seconds", f"peak ({report['where']})", "planned", "off"]
    more = [key for key in ("process_peak", "reserved", "others") if report["where"] == ON_DEVICE and _any(phases, key)]
    rows = [
        [
            name,
            phase["times"],
            phase["seconds"],
            size(phase["peak"]) if phase["peak"] else "-",
            *_beside(phase),
            *(size(phase[key]) if phase.get(key) is not None else "-" for key in more),
        ]
        for name, phase in phases.items()
    ]
    return f"{table([*columns, *(key.replace('_', ' ') for key in more)], rows)}\n{HOW_PLANNED}"


def _any(phases: Mapping[str, Mapping[str, Any]], key: str) -> bool:
    return any(phase.get(key) is not None for phase in phases.values())


def _beside(phase: Mapping[str, Any]) -> tuple[str, str]:
    """The plan, and how far it is from the measured peak."""
    planned = phase["planned"]
    if planned is None or not phase["peak"]:
        return "-", "-"
    return size(planned), f"{(planned / phase['peak'] - 1) * 100:+.0f} %"


def outlook(report: Mapping[str, Any]) -> str:
    """The peak, what there is, and when it will be used up at the trend so far; empty before a phase told any."""
    if not report["peak"]:
        return ""
    limit, left = report["limit"], report["steps_left"]
    peak = f"peak: {size(report['peak'])} in {printable(str(report['peak_phase']))}"
    if not limit:
        return peak
    trend = f"at this trend it runs out in about {left:.0f} steps" if left is not None else "no rising trend"
    return f"{peak}, of {size(limit)}\nforecast: {trend}, after {report['steps_seen']} steps"
