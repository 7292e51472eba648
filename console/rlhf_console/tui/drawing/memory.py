"""Where memory goes: what each role keeps, the peak of each phase, what the machine has left."""

from __future__ import annotations

from collections.abc import Mapping

from rlhf_console.render import size
from rlhf_console.runs.fold import Phase, RunSummary
from rlhf_console.tui.drawing.cells import Row, fit, join, spread, text_cells
from rlhf_sdk.machine import MachineSample

BAR = 30
NAME = 24
KINDS = {"weights": "█", "gradients": "▓", "optimizer": "▒", "experience": "░"}
KIND_STYLES = {"weights": "series-0", "gradients": "series-1", "optimizer": "series-2", "experience": "series-3"}


def machine_rows(sample: MachineSample | None, width: int) -> list[Row]:
    """One bar for each device, and for the process's memory within its limit."""
    if sample is None:
        return [text_cells("the machine has not been sampled yet", "dim")]
    rows = [
        _bar(f"GPU {device.index} {device.name}", device.memory_used, device.memory_total, width)
        for device in sample.devices
    ]
    limit = sample.cgroup_limit or sample.rss + sample.memory_available
    return [*rows, _bar("process, RSS", sample.rss, limit, width)]


def _bar(name: str, used: int, total: int, width: int) -> Row:
    share = min(used / max(total, 1), 1.0)
    done = round(BAR * share)
    style = "alarm" if share > 0.95 else "warn" if share > 0.85 else "accent"
    bar = text_cells("█" * done, style) + text_cells("░" * (BAR - done), "dim")
    return fit(fit(text_cells(name), NAME) + bar + text_cells(f"  {size(used)} of {size(total)} ({share:.0%})"), width)


def table_rows(summary: RunSummary, width: int) -> list[Row]:
    """Bytes by role and kind, stacked; nothing until the trainer has told."""
    table = summary.memory_table
    if table is None:
        return []
    roles: dict[str, dict[str, int]] = {}
    for row in table.rows:
        roles.setdefault(row.role, {})[row.kind] = row.bytes
    most = max((sum(kinds.values()) for kinds in roles.values()), default=1)
    legend = [text_cells(f"{glyph} {kind}", KIND_STYLES[kind]) for kind, glyph in KINDS.items()]
    rows = [spread(text_cells("kept between steps, by role", "title"), join(legend), width)]
    rows += [_role(role, kinds, most, width) for role, kinds in roles.items()]
    kept = sum(row.bytes for row in table.rows)
    return [
        *rows,
        fit(text_cells(f"{'all':<{NAME}}{size(kept)}, and {size(table.unaccounted)} unaccounted", "bold"), width),
    ]


def _role(role: str, kinds: Mapping[str, int], most: int, width: int) -> Row:
    bar: Row = []
    for kind, glyph in KINDS.items():
        bar += text_cells(glyph * round(BAR * kinds.get(kind, 0) / most), KIND_STYLES[kind])
    parts = "  ".join(f"{kind} {size(count)}" for kind, count in kinds.items() if count)
    return fit(
        fit(text_cells(role), NAME) + fit(bar, BAR) + text_cells(f"  {size(sum(kinds.values()))}: {parts}"), width
    )


def phase_rows(phases: Mapping[str, Phase], width: int) -> list[Row]:
    """Time and memory of each phase, inner ones below their outer one."""
    if not phases:
        return []
    total = sum(phase.total_seconds for name, phase in phases.items() if "/" not in name) or 1.0
    rows = [fit(text_cells(f"{'phase':<{NAME}}{'last':>10}{'share':>8}{'peak':>12}", "dim"), width)]
    for name in sorted(phases):
        phase = phases[name]
        used = phase.memory.get("peak") or phase.memory.get("rss_peak") or phase.memory.get("rss", 0)
        indent = "  " * name.count("/") + name.rpartition("/")[2]
        row = f"{indent:<{NAME}}{phase.last_seconds:>8.3g} s{phase.total_seconds / total:>8.0%}{size(used):>12}"
        rows.append(fit(text_cells(row), width))
    return rows
