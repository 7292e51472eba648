"""Where memory goes: what each role keeps, each phase's peak beside the plan, what the machine has left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlhf_console.memory_report import outlook
from rlhf_console.render import size
from rlhf_console.runs.fold import RunSummary
from rlhf_console.tui.drawing.cells import GAP, Row, fit, join, spread, text_cells
from rlhf_console.tui.drawing.timeline import GLYPHS, STYLES
from rlhf_sdk.machine_samples import MachineSample

BAR, NAME = 20, 24
SHORTEST_TREND, LONGEST_TREND = 8, 60
SPARKS = "▁▂▃▄▅▆▇█"
KINDS = ("weights", "gradients", "optimizer", "experience")


def machine_rows(moments: Sequence[MachineSample], width: int) -> list[Row]:
    """One bar for each device, for the process's memory within its limit, and for its use of cores; with their past."""
    if not moments:
        return [text_cells("the machine has not been sampled yet", "dim")]
    now = moments[-1]
    rows = [_device_row(place, moments, width) for place in range(len(now.devices))]
    limit = now.cgroup_limit or now.rss + now.memory_available
    process = _bar(now.rss, limit) + text_cells(f"  {_of(now.rss, limit)}")
    cores = text_cells(f"{now.cpu_percent / 100:.1f} cores")
    return [
        *rows,
        _machine_row("process, RSS", process, [moment.rss for moment in moments], width),
        _machine_row("process, CPU", cores, [moment.cpu_percent for moment in moments], width),
    ]


def _device_row(place: int, moments: Sequence[MachineSample], width: int) -> Row:
    device = moments[-1].devices[place]
    past = [moment.devices[place].memory_used for moment in moments if place < len(moment.devices)]
    busy = f"  busy {device.utilization} %" if device.utilization is not None else ""
    own = f"  own {size(device.process)}" if device.process else ""
    said = text_cells(f"  {_of(device.memory_used, device.memory_total)}{own}{busy}")
    bar = _bar(device.memory_used, device.memory_total)
    return _machine_row(f"GPU {device.index} {device.name}", bar + said, past, width)


def _machine_row(name: str, said: Row, past: Sequence[float], width: int) -> Row:
    row = fit(text_cells(name), NAME - 1) + text_cells(" ") + said
    room = min(width - len(row) - GAP, LONGEST_TREND)
    return spread(row, sparkline(past, room), width) if room >= SHORTEST_TREND else fit(row, width)


def sparkline(values: Sequence[float], width: int) -> Row:
    """The newest `width` values as heights above 0."""
    newest = values[-width:]
    highest = max(newest, default=0) or 1
    return text_cells("".join(SPARKS[round(value / highest * (len(SPARKS) - 1))] for value in newest), "dim")


def _of(used: int, total: int) -> str:
    return f"{size(used)} of {size(total)} ({used / max(total, 1):.0%})"


def _bar(used: int, total: int) -> Row:
    share = min(used / max(total, 1), 1.0)
    done = round(BAR * share)
    style = "alarm" if share > 0.95 else "warn" if share > 0.85 else "accent"
    return text_cells("█" * done, style) + text_cells("░" * (BAR - done), "dim")


def outlook_rows(report: Mapping[str, Any], width: int) -> list[Row]:
    """The peak, and when memory runs out at the trend so far."""
    style = "" if report["steps_left"] is None else "alarm"
    return [fit(text_cells(line, style), width) for line in outlook(report).splitlines()]


def table_rows(summary: RunSummary, width: int) -> list[Row]:
    """Bytes by role and kind, stacked; nothing until the trainer has told."""
    table = summary.memory_table
    if table is None:
        return []
    roles: dict[str, dict[str, int]] = {}
    for row in table.rows:
        roles.setdefault(row.role, {})[row.kind] = row.bytes
    most = max((sum(kinds.values()) for kinds in roles.values()), default=1)
    legend = [text_cells(f"{GLYPHS[kind]} {kind}", STYLES[kind]) for kind in KINDS]
    rows = [spread(text_cells("kept between steps, by role", "title"), join(legend), width)]
    rows += [_role(role, kinds, most, width) for role, kinds in roles.items()]
    kept = sum(row.bytes for row in table.rows)
    return [
        *rows,
        fit(text_cells(f"{'all':<{NAME}}{size(kept)}, and {size(table.unaccounted)} unaccounted", "bold"), width),
    ]


def _role(role: str, kinds: Mapping[str, int], most: int, width: int) -> Row:
    bar: Row = []
    for kind in KINDS:
        bar += text_cells(GLYPHS[kind] * round(BAR * kinds.get(kind, 0) / most), STYLES[kind])
    parts = "  ".join(f"{kind} {size(count)}" for kind, count in kinds.items() if count)
    return fit(
        fit(text_cells(role), NAME) + fit(bar, BAR) + text_cells(f"  {size(sum(kinds.values()))}: {parts}"), width
    )


def phase_rows(report: Mapping[str, Any], width: int) -> list[Row]:
    """Time, highest peak and plan of each phase, inner ones below their outer one."""
    phases: Mapping[str, Mapping[str, Any]] = report["phases"]
    if not phases:
        return []
    total = sum(phase["seconds"] for name, phase in phases.items() if "/" not in name) or 1.0
    columns = f"{'seconds':>10}{'share':>7}{'peak':>12}{'planned':>12}{'off':>8}"
    rows = [fit(text_cells(f"{'phase':<{NAME}}{columns}", "dim"), width)]
    for name in sorted(phases, key=lambda name: (-phases[name.partition("/")[0]]["seconds"], name)):
        indent = text_cells("  " * name.count("/") + name.rpartition("/")[2])
        rows.append(fit(fit(indent, NAME) + _figures(phases[name], total), width))
    return rows


def _figures(phase: Mapping[str, Any], total: float) -> Row:
    peak, planned = phase["peak"], phase["planned"]
    row = text_cells(f"{phase['seconds']:>10.4g}{phase['seconds'] / total:>7.0%}{size(peak) if peak else '-':>12}")
    if planned is None or not peak:
        return row + text_cells(f"{'-':>12}{'-':>8}", "dim")
    off = planned / peak - 1
    return row + text_cells(f"{size(planned):>12}{off:>+8.0%}", "warn" if off < 0 else "")
