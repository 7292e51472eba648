"""The record as tables of docs/performance.md. Torch-free."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.record import RESULTS
from benchmarks.speed.kept import Entry, kept
from benchmarks.speed.stages import MEMORY, MEMORY_ABOVE, STAGES, TIME, TRUNK, WALL
from benchmarks.speed.task import SHAPES

HEADING = ["stage", "model, rows", "ours", "peer", "peer s", "our s", "ratio", "target", "of the floor", "memory"]
CONDITIONS = ["processor", "date", "commit", "stages", "threads", "load", "GFLOP/s fp32, bf16", "GB/s"]
TRUNK_HEADING = ["model, rows", "forward", "s", "ratio", "first turn, s more", "memory above rest"]
USUAL = "sdpa"
"""What others are held to: transformers' default."""
MOST_TELEMETRY = 0.01


def comparison_table(entries: Sequence[Entry] | None = None) -> list[str]:
    """Markdown: one row for each contender of ours beside its peer, in the order of the stages; then telemetry."""
    found = [one for one in ordered(kept() if entries is None else entries) if one["stage"] != TRUNK]
    return _markdown(HEADING, [*(row for one in found for row in _rows(one)), *_telemetry_rows()])


def trunk_table(entries: Sequence[Entry] | None = None) -> list[str]:
    """Markdown: every contender of the trunk, ours or not, with the seconds that it takes before it is at its pace."""
    found = [one for one in ordered(kept() if entries is None else entries) if one["stage"] == TRUNK]
    return _markdown(TRUNK_HEADING, [row for one in found for row in _trunk_rows(one)])


def _trunk_rows(found: Entry) -> list[list[str]]:
    clock = TIME if found["device"] == "cpu" else WALL
    model, contenders = f"{found['model']}, {found['rows']}", found["contenders"]
    usual = next((one[clock] for one in contenders if one["name"].startswith(USUAL)), None)
    rows = [
        [
            model,
            one["name"],
            f"{one[clock]:.3g}",
            f"{usual / one[clock]:.2f}×" if usual else "–",
            f"{max(one['first_turn_wall_seconds'] - one[WALL], 0.0):.1f}",
            f"{one[MEMORY_ABOVE]:.0f} MiB",
        ]
        for one in contenders
    ]
    return [*rows, *([model, name, "not measured", *[""] * 3] for name in found["failed"])]


def conditions_table(entries: Sequence[Entry] | None = None) -> list[str]:
    """Markdown: what the figures were taken on, one row for each sitting."""
    sittings: dict[tuple[str, ...], list[Entry]] = {}
    for found in ordered(kept() if entries is None else entries):
        threads = "GPU" if found["device"] != "cpu" else str(found["threads"])
        key = (found["machine"]["processor"], found["date"], (found["commit"] or "")[:9], threads)
        sittings.setdefault(key, []).append(found)
    return _markdown(CONDITIONS, [_sitting(*key, taken=taken) for key, taken in sittings.items()])


def ordered(entries: Iterable[Entry]) -> list[Entry]:
    """By device, stage, model and threads, as stages and models are declared."""
    stages, models = list(STAGES), list(SHAPES)
    return sorted(
        entries,
        key=lambda one: (one["device"], stages.index(one["stage"]), models.index(one["model"]), one["threads"]),
    )


def _sitting(processor: str, date: str, commit: str, threads: str, *, taken: Sequence[Entry]) -> list[str]:
    loads = [load for found in taken for load in found["load"]]
    rates = [found["rates"] for found in taken if found["rates"]]
    names = ", ".join(dict.fromkeys(found["stage"] for found in taken))

    def span(key: str) -> str:
        values = [rate[key] for rate in rates]
        return f"{min(values):.0f} to {max(values):.0f}" if values else "–"

    load = f"{min(loads):.1f} to {max(loads):.1f}" if loads else "–"
    return [
        processor,
        date,
        commit,
        names,
        threads,
        load,
        f"{span('gflops')}, {span('gflops_bf16')}",
        span("gigabytes"),
    ]


def _rows(found: Entry) -> list[list[str]]:
    clock = TIME if found["device"] == "cpu" else WALL
    model = f"{found['model']}, {found['rows']}" + (f", {found['threads']} threads" if found["threads"] > 1 else "")
    by_name = {one["name"]: one for one in found["contenders"]}
    rows = []
    for one in found["contenders"]:
        if not one["name"].startswith("own"):
            continue
        share = f"{one['floor_seconds'] / one[clock]:.0%}" if one.get("floor_seconds") else "–"
        name = one["name"].removeprefix("own").lstrip(", ") or "the same"
        rows.append([found["title"], model, name, *_beside(one, by_name, clock), share, _memory(one)])
    return [*rows, *([found["title"], model, name, "", *["not measured"] * 3, "", "", ""] for name in found["failed"])]


def _beside(one: dict[str, Any], by_name: dict[str, dict[str, Any]], clock: str) -> list[str]:
    """The peer, its seconds, ours, the ratio, the target; ours alone where no peer was measured."""
    seconds = f"{one[clock]:.3g}"
    if "against" not in one:
        return ["–", "–", seconds, "–", ""]
    other = by_name[one["against"]]
    return [_peer(other), f"{other[clock]:.3g}", seconds, f"{one['ratios'][clock]:.2f}×", _verdict(one, clock)]


def _peer(one: dict[str, Any]) -> str:
    version = one["peer"].partition("==")[2]
    return f"{one['name'].replace('TRL', f'TRL {version}')}" if version and "TRL" in one["name"] else one["name"]


def _verdict(one: dict[str, Any], key: str) -> str:
    """The target of `key` and whether it is met."""
    target = next((target for target in one["targets"] if target["of"] == key), None)
    if target is None:
        return ""
    said = "met" if target["met"] else "**not met**"
    return f"≥ {target['least']:g}×, {said}" + (" (informative)" if target["informative"] else "")


def _memory(one: dict[str, Any]) -> str:
    """Our peak over the peer's; of the work alone where that is what the target is about."""
    if "ratios" not in one:
        return f"{one[MEMORY]:.0f} MiB"
    above = _verdict(one, MEMORY_ABOVE)
    if above:
        return f"+{one[MEMORY_ABOVE]:.0f} MiB, {one['ratios'][MEMORY_ABOVE]:.1f}× less; {above}"
    text = f"{1 / one['ratios'][MEMORY]:.2f}×"
    target = next((target for target in one["targets"] if target["of"] == MEMORY), None)
    if target is None:
        return text
    return f"{text}; ≤ {1 / target['least']:.2g}×, " + ("met" if target["met"] else "**not met**")


def _telemetry_rows() -> list[list[str]]:
    file = RESULTS / "telemetry.json"
    if not file.exists():
        return []
    share = json.loads(file.read_text())["share spent in telemetry"]
    verdict = f"≤ {MOST_TELEMETRY:.0%}, " + ("met" if share <= MOST_TELEMETRY else "**not met**")
    return [["telemetry, memory sampling, checks", "demo", "", "", "", f"{share:.2%} of a step", "", verdict, "", ""]]


def _markdown(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (heading, ["---"] * len(heading), *rows)]
