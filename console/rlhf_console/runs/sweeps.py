"""What a sweep's record says: the points of its grid, and which runs are at each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from rlhf_sdk.bounds import read_record
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_root import is_run_id

SWEEP, PIPELINE = "sweep", "pipeline"
OF_POINT = ": "
"""Between a sweep's id and the name of a point; no run id has a colon."""


@dataclass(frozen=True)
class Point:
    """One point of a sweep's grid, where runs differ in their seeds alone.

    `plugin` is that of the cells; `stages` are the plugins of a pipeline's stages by their names.
    """

    sweep: RunDir
    name: str
    cells: tuple[str, ...]
    plugin: str
    stages: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def id(self) -> str:
        return f"{self.sweep.id}{OF_POINT}{self.name}"

    @property
    def short(self) -> str:
        """The name without the stage in front of each key."""
        return ", ".join(_without_stage(part) for part in self.name.split(", "))

    def runs(self, stage: str = "") -> list[RunDir]:
        """Those there are by now, by seed; of a pipeline the stage's."""
        names = [f"{self.sweep.id}.{cell}" + (f".{stage}" if stage else "") for cell in self.cells]
        runs = [RunDir(self.sweep.root / name) for name in names if is_run_id(name)]
        return [run for run in runs if run.record_file.exists()]

    def stage_of(self, plugin: str) -> str:
        """The last stage with that plugin, of a pipeline; empty where there is none."""
        return next((name for name, known in reversed(list(self.stages.items())) if known == plugin), "")


class _Stage(msgspec.Struct):
    plugin: str
    config: dict[str, Any] = {}


class _Config(msgspec.Struct):
    base: _Stage
    rows: dict[str, list[str]]


class _Record(msgspec.Struct):
    config: _Config


_RECORD = msgspec.json.Decoder(_Record)


def points_of(run: RunDir) -> list[Point]:
    """In the grid's order; none of a record that is no sweep's, or is damaged."""
    try:
        config = _RECORD.decode(read_record(run.record_file)).config
        stages = msgspec.convert(config.base.config.get("stages", {}), dict[str, _Stage])
    except (OSError, ValueError, RecursionError):
        return []
    plugins = {name: stage.plugin for name, stage in stages.items()} if config.base.plugin == PIPELINE else {}
    return [Point(run, name, tuple(cells), config.base.plugin, plugins) for name, cells in config.rows.items()]


def short_names(points: Sequence[Point]) -> dict[str, str]:
    """By name; whole names where the short ones are the same."""
    differ = len({point.short for point in points}) == len(points)
    return {point.name: point.short if differ else point.name for point in points}


def _without_stage(setting: str) -> str:
    key, sign, value = setting.partition("=")
    return f"{key.rpartition('.')[2]}{sign}{value}"
