"""What a rank sends, and all layouts over the ranks, as text that fits 80 columns. Pure: plain data in, lines out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlhf_console.printable import printable
from rlhf_console.render import size, table

GIB = 2**30
TOO_MUCH = "!"
NOTES = {
    "zero-2/3": "zero-2/3: what is trained zero-2, what is frozen zero-3.",
    "zero-3/host": "zero-3/host: what is frozen lies in the host's memory.",
}


def traffic_lines(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Bytes that a rank sends in each phase of a step, with the least time that takes."""
    lines: list[str] = []
    for stage in found:
        phases = stage["phases"]
        rows = [
            [printable(sent["phase"]), printable(sent["what"]), size(sent["bytes"]), _seconds(sent["seconds"])]
            for sent in phases
        ]
        if len(found) == 1:
            lines.append(table(["phase of a step", "of", "a rank sends", "seconds"], rows))
        known = [sent["seconds"] for sent in phases if sent["seconds"] is not None]
        least = f", {_seconds(sum(known))} s at least" if len(known) == len(phases) else ""
        lines.append(
            f"{printable(stage['stage'])}: a rank sends {size(sum(p['bytes'] for p in phases))} a step{least}."
        )
    return ["", "Traffic", *lines] if lines else []


def layout_lines(found: Sequence[Mapping[str, Any]], memory: int) -> list[str]:
    """Every layout beside every other: peak, bytes sent and seconds; and the cheapest that fits."""
    if not found:
        return []
    layouts = list(dict.fromkeys(one["layout"] for one in found))
    shardings = list(dict.fromkeys(one["sharding"] for one in found))
    cells = {(one["sharding"], one["layout"]): _cells(one, memory) for one in found}
    empty = ["", "", ""]
    notes = [note for name, note in NOTES.items() if name in shardings]
    rows = [
        [sharding, *(cell for layout in layouts for cell in cells.get((sharding, layout), empty))]
        for sharding in shardings
    ]
    headings = [heading for layout in layouts for heading in (layout or "peak", "sent", "s")]
    return [
        "",
        f"All layouts: GiB at a rank's peak ({TOO_MUCH} does not fit), and of a step the GiB that",
        "it sends and the least seconds",
        table(["", *headings], rows),
        *notes,
        *_cheapest(found, memory),
    ]


def _cells(one: Mapping[str, Any], memory: int) -> list[str]:
    mark = TOO_MUCH if one["peak"] > memory else ""
    least = one["seconds"]
    return [
        f"{one['peak'] / GIB:.1f}{mark}".rjust(6),
        _short(one["sent"] / GIB),
        "-" if least is None else _short(least),
    ]


def _cheapest(found: Sequence[Mapping[str, Any]], memory: int) -> list[str]:
    """Of those that train the same, the one that sends least."""
    fitting = [one for one in found if one["same_algorithm"] and one["peak"] <= memory]
    if not fitting:
        return ["None of them fits that trains the same; see what would save memory."]
    best = min(fitting, key=lambda one: one["sent"])
    settings = [f"    --set {printable(setting)}" for setting in best["settings"]]
    return [f"Of those that fit and train the same, {printable(best['sharding'])} sends least:", *settings]


def _short(figure: float) -> str:
    return f"{figure:.0f}" if figure >= 100 else f"{figure:.2g}" if figure < 1 else f"{figure:.1f}"


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds:.3g}" if seconds < 100 else f"{seconds:.0f}"
