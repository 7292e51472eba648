"""A sweep as somebody asks for it: a grid of values and a number of seeds, made into the cells of one run."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rlhf_console import plugins
from rlhf_console.profiles import PIPELINE, SWEEP, flatten, load_profile, merge, parse_value
from rlhf_console.requests import RunRequest, resolve_request
from rlhf_sdk.launching.contract import LOCAL, Choice
from rlhf_sdk.references import pin
from rlhf_sdk.spelling import nearest
from rlhf_sdk.trainer import UserError

GRID, SEEDS = "--grid", "--seeds"
SEED = "seed"
LONGEST_NAME = 60
OPENING, CLOSING, QUOTES = "[{", "]}", "\"'"
UNUSABLE = re.compile(r"[^A-Za-z0-9._]+")


@dataclass(frozen=True)
class Axis:
    """One key, and its values as they were typed."""

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Cell:
    """One run: `point` has the value of each axis, `row` is the point's name, `config` and `origins` are complete."""

    name: str
    row: str
    point: Mapping[str, str]
    config: dict[str, Any]
    origins: dict[str, str]


@dataclass(frozen=True)
class Sweep:
    """The cells in the order in which they begin: the first seed of every point, then the second."""

    plugin: str
    profile: str
    cells: Sequence[Cell]
    slots: int
    choice: Choice = LOCAL

    def request(self) -> RunRequest:
        """One run of all cells, validated."""
        base = self.cells[0]
        differing = {cell.name: difference(base.config, cell.config) for cell in self.cells}
        rows: dict[str, list[str]] = {}
        for cell in self.cells:
            rows.setdefault(cell.row, []).append(cell.name)
        config = {
            "base": {"plugin": self.plugin, "config": base.config},
            "cells": {name: {"plugin": self.plugin, "config": values} for name, values in differing.items()},
            "rows": rows,
            "slots": self.slots,
            "launcher": self.choice.launcher,
            "launcher_options": self.choice.options,
        }
        origins = {f"base.config.{key}": origin for key, origin in base.origins.items()}
        for cell in self.cells:
            changed = flatten(differing[cell.name])
            origins |= {f"cells.{cell.name}.config.{key}": cell.origins[key] for key in changed if key in cell.origins}
        return RunRequest(SWEEP, self.profile, plugins.validate(SWEEP, config), origins)


def resolve_sweep(
    plugin: str,
    profile: str,
    grid: Sequence[str],
    seeds: int,
    slots: int,
    settings: Sequence[str],
    from_runs: Sequence[str],
    root: Path,
) -> Sweep:
    """Every cell resolved and validated, before anything is written. Raises `UserError` naming what is wrong."""
    axes = parse_grid(grid)
    _check_stages(axes, plugin, profile)
    _check_settings(axes, settings)
    cells = []
    for point in points_of(axes):
        chosen = [f"{key}={value}" for key, value in point.items()]
        request = resolve_request(plugin, profile, [*settings, *chosen], from_runs, None, root)
        pin(root, request.config)
        cells.append(_seeded(request, point, seeds))
    return Sweep(plugin, profile, named([cell for same in zip(*cells, strict=True) for cell in same]), slots)


def parse_grid(grid: Sequence[str]) -> list[Axis]:
    """`KEY=VALUE,VALUE...` each. Raises `UserError` for a key given twice, and values that are empty or the same."""
    axes: list[Axis] = []
    for entry in grid:
        key, separator, text = entry.partition("=")
        values = split_values(text)
        if not separator or "." not in key:
            raise UserError(f"{GRID} {entry!r}: expected STAGE.KEY=VALUE,VALUE, such as ppo.kl_coef=0.02,0.05")
        if not all(values):
            raise UserError(f"{GRID} {entry!r}: a value is empty")
        if same := _first_repeated([parse_value(value) for value in values]):
            raise UserError(f"{GRID} {entry!r}: {same} stands there twice")
        if any(axis.key == key.strip() for axis in axes):
            raise UserError(f"{GRID} {entry!r}: {key.strip()} has its values already; give all of them at once")
        axes.append(Axis(key.strip(), tuple(values)))
    return axes


def split_values(text: str) -> list[str]:
    """At the commas that stand in no brackets and no quotes."""
    values, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in QUOTES:
            quote = character
        depth += (character in OPENING) - (character in CLOSING) if not quote else 0
        if character == "," and not depth and not quote:
            values.append("")
        else:
            values[-1] += character
    return [value.strip() for value in values]


def _first_repeated(values: Sequence[Any]) -> str:
    return next((repr(value) for place, value in enumerate(values) if value in values[:place]), "")


def points_of(axes: Sequence[Axis]) -> Iterator[dict[str, str]]:
    """Every combination, the last axis moving fastest; one empty point without axes."""
    for values in itertools.product(*(axis.values for axis in axes)):
        yield {axis.key: value for axis, value in zip(axes, values, strict=True)}


def _check_stages(axes: Sequence[Axis], plugin: str, profile: str) -> None:
    if plugin == PIPELINE and not profile:
        return
    stages = [stage.name for stage in load_profile(profile).stages] if plugin == PIPELINE else [plugin]
    for axis in axes:
        stage = axis.key.partition(".")[0]
        if stage not in stages:
            there = ", ".join(stages)
            raise UserError(f"{GRID} {axis.key}: no stage {stage!r}; there is {there}.{nearest(stage, stages)}")


def _check_settings(axes: Sequence[Axis], settings: Sequence[str]) -> None:
    given = [setting.partition("=")[0].strip() for setting in settings]
    for axis in axes:
        if axis.key in given:
            raise UserError(f"{axis.key} has a value by --set and others by {GRID}; take one away")


def _seeded(request: RunRequest, point: Mapping[str, str], seeds: int) -> list[Cell]:
    """The request with each of its seeds as it is, 1 more, and so on."""
    places = _seed_places(request)
    if seeds > 1 and not places:
        raise UserError(f"{SEEDS} {seeds}: {request.plugin} has no key {SEED!r}, so that all cells would be the same")
    if seeds > 1 and (swept := next((key for key in point if key.split(".")[1:] == [SEED]), "")):
        raise UserError(f"{GRID} {swept} and {SEEDS} {seeds}: both would set the seed; take one away")
    row = ", ".join(f"{key}={value}" for key, value in point.items()) or "all"
    origins = _marked(request.provenance, point, request.plugin)
    cells = []
    for number in range(seeds):
        config = request.config
        for place, seed in places.items():
            config = merge(config, _at(place, seed + number))
        moved = {".".join(place): SEEDS for place in places} if number else {}
        suffix = f"s{next(iter(places.values())) + number}" if seeds > 1 else ""
        cells.append(Cell(suffix, row, point, config, {**origins, **moved}))
    return cells


def _seed_places(request: RunRequest) -> dict[tuple[str, ...], int]:
    """Where the seeds of a run, or of all stages of a pipeline, are, and what they are."""
    if request.plugin != PIPELINE:
        return {(SEED,): request.config[SEED]} if SEED in request.config else {}
    stages = request.config["stages"]
    return {
        ("stages", name, "config", SEED): stage["config"][SEED]
        for name, stage in stages.items()
        if SEED in stage["config"]
    }


def _at(place: Sequence[str], value: Any) -> dict[str, Any]:
    made: Any = value
    for key in reversed(place):
        made = {key: made}
    nested: dict[str, Any] = made
    return nested


def _marked(provenance: Mapping[str, str], point: Mapping[str, str], plugin: str) -> dict[str, str]:
    """What the grid has set came by the way of --set."""
    found = dict(provenance)
    for key in point:
        stage, _, rest = key.partition(".")
        place = f"stages.{stage}.config.{rest}" if plugin == PIPELINE else rest
        found |= {known: GRID for known in provenance if known == place or known.startswith(f"{place}.")}
    return found


def named(cells: Sequence[Cell]) -> list[Cell]:
    """With names of what tells them apart: kl_coef-0.02-s1; by number where those would be long or the same."""
    names = ["-".join(filter(None, [*map(_slug, cell.point.items()), cell.name])) or "cell" for cell in cells]
    if len(set(names)) < len(names) or max(map(len, names)) > LONGEST_NAME:
        names = [f"cell-{number}" for number in range(1, len(cells) + 1)]
    return [replace(cell, name=name) for cell, name in zip(cells, names, strict=True)]


def _slug(value: tuple[str, str]) -> str:
    key, text = value
    return f"{key.rpartition('.')[2]}-{UNUSABLE.sub('-', text).strip('-')}".strip("-")


def difference(base: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """What must be laid over `base` to have `other`."""
    found: dict[str, Any] = {}
    for key, value in other.items():
        before = base.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            if inner := difference(before, value):
                found[key] = inner
        elif key not in base or before != value:
            found[key] = value
    return found
