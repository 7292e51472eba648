"""What the turns of a stage say: medians, ratios, floors, targets, and whether both sides did the same work."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.record import machine
from benchmarks.speed.floors import floor_seconds
from benchmarks.speed.paired import Measured, median, median_ratio, task_of
from benchmarks.speed.stages import MEMORY, MEMORY_ABOVE, TIME, WALL, Contender
from rlhf_sdk.provenance import code_revision

FIRST_TURNS, DIGITS = 3, 5
AMX = "amx_bf16"
LEAST_IN_BF16 = 0.02
"""Tolerance: both sides round, each in its own places."""


def entry(measured: Measured) -> dict[str, Any]:
    """A stage on a model, for the record."""
    revision = code_revision()
    stage = measured.stage
    return {
        "stage": stage.name,
        "title": stage.title,
        "model": measured.model,
        "rows": measured.rows,
        "threads": measured.threads,
        "device": measured.device,
        "date": time.strftime("%Y-%m-%d"),
        "commit": revision.revision if revision else None,
        "machine": machine(),
        "load": [min(measured.load), max(measured.load)] if measured.load else [],
        "seconds": round(measured.seconds),
        "rates": measured.rates(),
        "contenders": [
            figures(one, measured) for one in stage.contenders_on(measured.model) if one.name in measured.turns
        ],
        "failed": measured.failed,
    }


def figures(contender: Contender, measured: Measured) -> dict[str, Any]:
    """Of one contender."""
    turns, rates = measured.turns[contender.name], measured.rates()
    found: dict[str, Any] = {
        "name": contender.name,
        "precision": contender.precision,
        "peer": contender.peer,
        "turns": [_rounded(turn) for turn in turns],
        **{key: median(turns, key) for key in (TIME, WALL, MEMORY, MEMORY_ABOVE)},
    }
    if measured.warm_up.get(contender.name):
        found["first_turn_wall_seconds"] = measured.warm_up[contender.name][0][WALL]
    if rates:
        found["floor_seconds"] = floor_seconds(measured.stage.name, task_of(contender, measured), rates)
    if contender.against in measured.turns:
        found["against"] = contender.against
        found["ratios"] = ratios(contender, measured)
        found["same"] = agreement(contender, measured)
        found["targets"] = targets(contender, measured, found["ratios"])
    return found


def _rounded(found: Any) -> Any:
    """All numbers in it to `DIGITS`, for the record's size."""
    if isinstance(found, dict):
        return {key: _rounded(value) for key, value in found.items()}
    return float(f"{found:.{DIGITS}g}")


def ratios(contender: Contender, measured: Measured) -> dict[str, float]:
    """What the other one needed over what this one needed."""
    turns, others = measured.turns[contender.name], measured.turns[contender.against]
    return {key: median_ratio(others, turns, key) for key in (TIME, WALL, MEMORY, MEMORY_ABOVE)}


def agreement(contender: Contender, measured: Measured) -> dict[str, dict[str, float]]:
    """By figure, the largest relative difference of the first turns, and its tolerance; in one precision only."""
    other = next(one for one in measured.stage.contenders if one.name == contender.against)
    if other.precision != contender.precision:
        return {}
    least = LEAST_IN_BF16 if contender.precision == "bfloat16" else 0.0
    pairs = list(zip(measured.all_figures(contender.name), measured.all_figures(other.name), strict=True))
    return {
        name: {
            "tolerance": max(tolerance, least),
            "difference": max(abs(ours[name] / theirs[name] - 1) for ours, theirs in pairs[:FIRST_TURNS]),
        }
        for name, tolerance in measured.stage.same.items()
    }


def targets(contender: Contender, measured: Measured, found: dict[str, float]) -> list[dict[str, Any]]:
    """What was to be reached on this model; informative in bf16 on a processor without its matrix instructions."""
    with_amx = AMX in machine()["matrix instructions"]
    return [
        {
            "of": target.of,
            "least": target.ratios[measured.model],
            "met": found[target.of] >= target.ratios[measured.model],
            "informative": contender.precision == "bfloat16" and not with_amx,
        }
        for target in contender.targets
        if measured.model in target.ratios
    ]


def same_work(found: dict[str, Any]) -> bool:
    """Whether everything agreed that must."""
    checks = [check for one in found["contenders"] for check in one.get("same", {}).values()]
    return all(check["difference"] <= check["tolerance"] for check in checks)


def lines(found: dict[str, Any]) -> str:
    """The entry in words, a line a contender."""
    rates = "".join(f", {name} {value:.0f}" for name, value in found["rates"].items())
    said = [f"{found['title']}, {found['model']}, {found['rows']} rows ({found['seconds']} s{rates})"]
    said += [f"  {name}: not measured: {reason}" for name, reason in found["failed"].items()]
    said += [f"  {one['name']:<24}{_line(one)}" for one in found["contenders"]]
    return "\n".join(said)


def _line(one: dict[str, Any]) -> str:
    text = f"{one[TIME]:9.3f} CPU s {one[WALL]:9.3f} s{one[MEMORY]:7.0f} MiB (+{one[MEMORY_ABOVE]:.0f})"
    if one.get("floor_seconds"):
        text += f", {one['floor_seconds'] / one[TIME]:.0%} of the floor's rate"
    if "ratios" in one:
        text += f"; {one['ratios'][TIME]:.2f}x {one['against']}, memory {1 / one['ratios'][MEMORY]:.2f}"
    for name, check in one.get("same", {}).items():
        agrees = "agrees" if check["difference"] <= check["tolerance"] else "DIFFERS"
        text += f"; {name} {agrees} ({check['difference']:.0e})"
    return text
