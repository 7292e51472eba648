"""Tables of docs/scaling_on_paper.md, as lines of Markdown; the arithmetic: scale_on_paper.py."""

from __future__ import annotations

import json
import math

from benchmarks.record import RESULTS
from benchmarks.scale_on_paper import (
    CHECKPOINTED,
    ENOUGH_ROWS,
    FAST,
    GIB,
    GPUS_USED,
    LAYOUTS,
    MODELS,
    PHASES,
    SHARDINGS,
    SLOW,
    OnPaper,
    choices,
    config_of,
    laid_out,
)
from rlhf_engine.time_floors import Rates, step_floors

PUBLISHED_ROWS = {"1B": (16, 64), "2.8B": (4, 32), "6.9B": (1, 4)}
"""Rows of a training and of a scoring forward on each of 8 GPUs, in the code published with Huang et al. 2024."""


def _line(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _heading(*cells: str) -> list[str]:
    return [_line(*cells), _line(*["---"] * len(cells))]


def _gib(case: OnPaper) -> str:
    gib = f"{case.peak.bytes / GIB:.0f}"
    return gib if case.fits else f"~~{gib}~~"


def _figure(seconds: float) -> str:
    if seconds < 0.0005:
        return "0"
    return f"{seconds:.0f}" if seconds >= 10 else f"{seconds:.2g}"


def memory_table() -> list[str]:
    """GiB at the peak of each rank, four full models, with gradient checkpointing and 4 rows in a micro-batch."""
    lines = _heading("model", "GPUs", *SHARDINGS)
    for model in MODELS:
        for gpus in GPUS_USED:
            names = list(SHARDINGS) if gpus > 1 else ["ddp"]
            cells = [_gib(_small(laid_out(model, gpus, name))) for name in names]
            lines.append(_line(model, gpus, *cells, *[""] * (len(SHARDINGS) - len(cells))))
    return lines


def _small(case: OnPaper) -> OnPaper:
    checkpointed = OnPaper(case.model, case.gpus, (*case.changes, *CHECKPOINTED.items()))
    return checkpointed.having(micro_batch_size=ENOUGH_ROWS, rollout_batch_size=16)


def layouts_table() -> list[str]:
    """GiB at the peak and GiB sent in an update, PPO's layouts, on 8 GPUs."""
    cut = ("ddp", "zero-1", "zero-2", "zero-3")
    lines = _heading("model", "layout", *(f"{name}: peak, sent" for name in cut))
    for model in MODELS:
        for layout in LAYOUTS:
            cases = [_small(laid_out(model, 8, name, layout)) for name in cut]
            lines.append(_line(model, f"`{layout}`", *(f"{_gib(case)}, {case.sent / GIB:.0f}" for case in cases)))
    return lines


def operations_table() -> list[str]:
    """10^15 operations of an update, of all ranks together."""
    lines = _heading("model", *PHASES, "all")
    for model in MODELS:
        floors = step_floors(config_of(model), 0, Rates(flops=1e15, bandwidth=math.inf))
        sums = [sum(floors.get(phase, 0.0) for phase in phases) for phases in PHASES.values()]
        lines.append(_line(model, *map(_figure, sums), _figure(sum(sums))))
    return lines


def traffic_table() -> list[str]:
    """GiB that a rank sends in an update, in the rollout, the experience and the update itself."""
    names = [name for name in SHARDINGS if name != "zero-3/host"]
    lines = _heading("model", "GPUs", *names)
    for model in MODELS:
        for gpus in (8, 64):
            cells = [_sent(_small(laid_out(model, gpus, name))) for name in names]
            lines.append(_line(model, gpus, *cells))
    return lines


def _sent(case: OnPaper) -> str:
    sent = case.subject.traffic("ppo", dict(case.changes))
    sums = [sum(one.bytes for one in sent if one.phase in phases) / GIB for phases in PHASES.values()]
    return " + ".join(f"{part:.0f}" for part in sums)


def decision_table() -> list[str]:
    """What to choose, with its floors in seconds and what binds."""
    heads = ("rows", "peak GiB", "sent GiB", "generation", "experience", "update", "binds", "an update", "at 100 Gb/s")
    lines = _heading("model", "GPUs", "choose", *heads)
    for model in MODELS:
        for gpus in GPUS_USED:
            best = next(choices(model, gpus), None)
            lines.append(_line(model, gpus, "does not fit", *[""] * 9) if best is None else _decision(*best))
    return lines


def _decision(name: str, case: OnPaper) -> str:
    settings, groups = dict(case.changes), case.seconds(FAST)
    checkpointed = ", checkpointed" if "model.gradient_checkpointing" in settings else ""
    longest = max(groups, key=lambda group: max(groups[group]))
    binds = "sending" if groups[longest][1] > groups[longest][0] else f"{longest}"
    slow = _figure(case.step(SLOW)) if case.gpus > 8 else ""
    return _line(
        case.model,
        case.gpus,
        f"`{name}`{checkpointed}",
        settings["micro_batch_size"],
        _gib(case),
        f"{case.sent / GIB:.0f}",
        *(f"{_figure(computing)} / {_figure(sending)}" for computing, sending in groups.values()),
        binds,
        _figure(case.step(FAST)),
        slow,
    )


def example_table() -> list[str]:
    """The paper's rows on its 8 GPUs, ZeRO-2."""
    lines = _heading("model", "rows", "zero-2: peak GiB", "zero-2/3: peak GiB", "zero-2/3: sent GiB", "an update, s")
    for model, (rows, scored) in PUBLISHED_ROWS.items():
        plain, frozen_cut = (
            laid_out(model, 8, name).having(micro_batch_size=rows, rollout_batch_size=scored)
            for name in ("zero-2", "zero-2/3")
        )
        sent, seconds = f"{frozen_cut.sent / GIB:.0f}", _figure(frozen_cut.step(FAST))
        lines.append(_line(model, rows, _gib(plain), _gib(frozen_cut), sent, seconds))
    return lines


def counted_table() -> list[str]:
    """How well plans of ranks describe what gloo's did."""
    found = json.loads((RESULTS / "plan_ranks.json").read_text())["layouts"]
    lines = _heading("layout", "cases", "held to the byte", "sent to the byte", "planned over measured peak")
    for layout, one in found.items():
        peak = f"{one['lowest']:+.1%} to {one['highest']:+.1%}"
        lines.append(_line(f"`{layout}`", one["cases"], one["held as planned"], one["sent as planned"], peak))
    return lines


TABLES = {
    "memory": memory_table,
    "layouts": layouts_table,
    "operations": operations_table,
    "traffic": traffic_table,
    "decisions": decision_table,
    "example": example_table,
    "counted": counted_table,
}
