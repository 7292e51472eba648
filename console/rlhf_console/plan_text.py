"""A memory plan and its advice as text that fits 80 columns. Pure: plain data in, lines out."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlhf_console.gpus import Target
from rlhf_console.plan_ranks_text import layout_lines, traffic_lines
from rlhf_console.printable import printable
from rlhf_console.render import duration, size, table

ALWAYS, PEAK = "always", "peak"
OTHER, PASSING = "other", "passing"
KINDS = {
    "weights": "weights",
    "Adam moments": "Adam",
    "gradients": "gradients",
    "gathered weights": "gathered",
    "activations": "activations",
    "recomputed block": "activations",
    "bf16 copies": OTHER,
}
"""What a role needs, and its column in the table."""
COLUMNS = list(dict.fromkeys(KINDS.values()))
GATHERED = "gathered"
SHORT = {"gradients": "grads", GATHERED: "gather", "activations": "activ."}
"""Of columns, where there is one more than a screen is wide."""
TIGHT = 0.05
"""Less of the memory to spare than this share: fragmentation may take it."""
WIDTH = 79
SHOWN_SWITCHES = 10

Rows = Sequence[Mapping[str, Any]]


def peak_of(rows: Rows) -> Mapping[str, Any]:
    """The row that says how much is needed at the busiest moment, and in which phase that is."""
    return next(row for row in rows if row["what"] == PEAK)


def with_peak(rows: Rows) -> Rows:
    """The rows, and their peak where a plugin has left it to us: what stays, and the phase that needs most."""
    if any(row["what"] == PEAK for row in rows):
        return rows
    totals = {phase: 0 for phase in (row["phase"] for row in rows) if phase != ALWAYS} or {ALWAYS: 0}
    for row in rows:
        for phase in totals if row["phase"] == ALWAYS else [row["phase"]]:
            totals[phase] += row["bytes"]
    highest = max(totals, key=totals.__getitem__)
    return [*rows, {"what": PEAK, "phase": highest, "bytes": totals[highest]}]


def plan_text(title: str, plan: Mapping[str, Any], target: Target) -> str:
    """Memory by role and by phase, whether it fits, what would save some, and floors of time."""
    rows = plan["rows"]
    parts = [
        f"{printable(title)} on {printable(target.name)}: {size(target.device.memory)}",
        _wrapped(f"({printable(target.about)})"),
        "",
        _phases(rows),
        "",
        f"At the peak, in {printable(peak_of(rows)['phase'])}, by role",
        by_role(rows),
        "",
        verdict(rows, target.device.memory),
        *(_batches(plan.get("largest", []))),
        *_switches(plan.get("switches", [])),
        *_floors(plan.get("floors", []), plan.get("assumptions", [])),
        *traffic_lines(plan.get("traffic", [])),
        *layout_lines(plan.get("layouts", []), target.device.memory),
    ]
    return "\n".join(parts)


def verdict(rows: Rows, memory: int) -> str:
    """Whether the peak fits, and by how much."""
    peak = peak_of(rows)
    need = f"The peak is {size(peak['bytes'])}, in {printable(peak['phase'])}"
    spare = memory - peak["bytes"]
    if spare < 0:
        return f"{need}: DOES NOT FIT, {size(-spare)} too much."
    fits = f"{need}: fits, {size(spare)} to spare."
    return fits + (" Fragmentation may take that." if spare < TIGHT * memory else "")


def side_by_side(plans: Mapping[str, Rows]) -> str:
    """What each plan needs in each phase in all, one column for each plan, and the peaks."""
    unit = max(map(_unit, plans.values()), key=lambda found: found.bytes)
    phases = dict.fromkeys(row["phase"] for rows in plans.values() for row in rows if not _is_always(row["phase"]))
    lines = [[phase, *(unit.cell(_whole(rows, phase)) for rows in plans.values())] for phase in phases]
    peaks = [peak_of(rows) for rows in plans.values()]
    lines += [[PEAK, *(unit.cell(peak["bytes"]) for peak in peaks)], ["in", *(peak["phase"] for peak in peaks)]]
    return table([unit.name, *plans], lines)


def _whole(rows: Rows, phase: str) -> int:
    own = [row for row in rows if row["phase"] == phase and row["what"] != PEAK]
    return sum(map(_bytes, [*own, *_staying(rows, phase)])) if own else 0


def _phases(rows: Rows) -> str:
    """One line a phase: what stays, what it needs beyond that, both, and the largest part of what it needs.

    Of a pipeline, each stage's busiest phase alone.
    """
    unit = _unit(rows)
    lines = []
    for phase in _shown_phases(rows):
        parts = sorted((row for row in rows if row["phase"] == phase and row["what"] != PEAK), key=_bytes, reverse=True)
        stays, more = sum(map(_bytes, _staying(rows, phase))), sum(map(_bytes, parts))
        largest = f"{unit.cell(parts[0]['bytes'])} {parts[0]['what']}" if parts else ""
        lines.append([phase, unit.cell(stays), unit.cell(more), unit.cell(stays + more), largest])
    found = table([unit.name, "always", "and then", "in all", "most of that"], lines)
    return "\n".join(line[:WIDTH] for line in found.split("\n"))


def _shown_phases(rows: Rows) -> list[str]:
    phases = list(dict.fromkeys(row["phase"] for row in rows if not _is_always(row["phase"])))
    stages = dict.fromkeys(phase.rpartition(": ")[0] for phase in phases)
    if list(stages) == [""]:
        return phases
    of_stages = ([phase for phase in phases if phase.rpartition(": ")[0] == stage] for stage in stages)
    return [max(own, key=lambda phase: _whole(rows, phase)) for own in of_stages]


def _staying(rows: Rows, phase: str) -> Rows:
    return [row for row in rows if row["phase"] == _always_of(phase)]


def _bytes(row: Mapping[str, Any]) -> int:
    count: int = row["bytes"]
    return count


@dataclass(frozen=True)
class _Unit:
    """Of all figures in a table."""

    name: str
    bytes: int

    def cell(self, count: int) -> str:
        return (f"{count / self.bytes:.2f}" if count else "-").rjust(6)


def _unit(rows: Rows) -> _Unit:
    return _Unit("GiB", 2**30) if peak_of(rows)["bytes"] >= 2**30 else _Unit("MiB", 2**20)


def _is_always(phase: str) -> bool:
    return phase.rpartition(": ")[2] == ALWAYS


def _always_of(phase: str) -> str:
    """The phase of what stays through all phases of the same stage."""
    stage, separator, _ = phase.rpartition(": ")
    return f"{stage}{separator}{ALWAYS}"


def by_role(rows: Rows) -> str:
    """What each role needs at the peak, by kind; what belongs to no role has a line of its own."""
    phase, unit = peak_of(rows)["phase"], _unit(rows)
    found: dict[str, dict[str, int]] = {}
    for row in rows:
        if row["phase"] in (phase, _always_of(phase)) and row["what"] != PEAK:
            role, kind = _role_and_kind(row["what"])
            found.setdefault(role, dict.fromkeys(COLUMNS, 0))[kind] += row["bytes"]
    shared = [role for role in found if role in {row["what"] for row in rows}]
    ordered = [role for role in found if role not in shared] + shared
    sums = {kind: sum(cells[kind] for cells in found.values()) for kind in COLUMNS}
    narrow = sums[GATHERED] > 0
    shown = [kind for kind in COLUMNS if sums[kind] or not (narrow or kind == GATHERED)]
    lines = [
        [role, *(unit.cell(cells[kind]) for kind in shown), unit.cell(sum(cells.values()))]
        for role, cells in [*((role, found[role]) for role in ordered), ("in all", sums)]
    ]
    return table([unit.name, *(SHORT.get(kind, kind) if narrow else kind for kind in shown), "in all"], lines)


def _role_and_kind(what: str) -> tuple[str, str]:
    """ "weights: policy" belongs to a role; "KV cache" and "logits: one chunk" stand for themselves."""
    kind, _, role = what.partition(": ")
    return (role, KINDS[kind]) if kind in KINDS and role != PASSING else (what, OTHER)


def _batches(found: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = []
    for batch in found:
        key, largest = batch["key"], batch["largest"]
        if not largest:
            lines.append(f"Not even {key} = 1 fits.")
        else:
            whole = ", the whole batch" if largest == batch["useful"] else ""
            lines.append(
                _wrapped(f"Largest {key} that fits: {largest}{whole} (set: {batch['configured']}).", indent="  ")
            )
    return lines


def _switches(found: Sequence[Mapping[str, Any]]) -> list[str]:
    if not found:
        return []
    lines = [
        [size(switch["saved"]), size(switch["peak"]), switch["phase"], " ".join(switch["settings"])]
        for switch in found[:SHOWN_SWITCHES]
    ]
    return ["", "What would save memory, one at a time (for --set)", _hanging(lines)]


def _hanging(lines: Sequence[Sequence[str]]) -> str:
    """Several settings stand one below the other, and below their line where that is too narrow."""
    heading, ruler, *body = table(["saves", "new peak", "in", "setting"], [[*line[:3], ""] for line in lines]).split(
        "\n"
    )
    indent = " " * (len(ruler) - len("-------"))
    shown = [f"{heading}", ruler]
    for line, cells in zip(body, lines, strict=True):
        settings = [printable(setting) for setting in cells[3].split(" ")]
        if len(indent) + max(map(len, settings)) > WIDTH:
            shown += [line, *(f"    {setting}" for setting in settings)]
        else:
            shown.append(f"{line.ljust(len(indent))}{settings[0]}")
            shown += [f"{indent}{setting}" for setting in settings[1:]]
    return "\n".join(shown)


def _floors(found: Sequence[Mapping[str, Any]], assumptions: Sequence[str]) -> list[str]:
    if not found:
        return []
    parts = ["", "Floors of time: no run is faster than this"]
    for stage in found:
        step = sum(phase["seconds"] for phase in stage["phases"])
        if len(found) == 1:
            parts.append(
                table(["phase of a step", "seconds"], [[p["phase"], _seconds(p["seconds"])] for p in stage["phases"]])
            )
        run = f"; {stage['steps']} steps at least {_long(step * stage['steps'])}" if stage["steps"] else ""
        parts.append(f"{stage['stage']}: a step takes at least {_seconds(step)} s{run}.")
    return [*parts, "Assumed:", *(_wrapped(f"- {assumption}", indent="  ") for assumption in assumptions)]


def _seconds(seconds: float) -> str:
    return f"{seconds:.3g}" if seconds < 100 else f"{seconds:.0f}"


def _long(seconds: float) -> str:
    return duration(seconds) if seconds >= 1 else f"{_seconds(seconds)} s"


def _wrapped(text: str, *, indent: str = "") -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent=indent)
