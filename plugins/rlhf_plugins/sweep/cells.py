"""A sweep's cells: the config of each, the run of each, and what a finished one reports."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import structs

from rlhf_plugins.sweep import SweepConfig
from rlhf_sdk.config_errors import ConfigError, convert_config
from rlhf_sdk.discovery import load_spec
from rlhf_sdk.events import ChildRun, MetricsLogged, Result
from rlhf_sdk.pace import AttemptOptions
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_root import check_name
from rlhf_sdk.trainer import UserError

PIPELINE = "pipeline"
WIN_RATE = re.compile(r"(?!reference/).+/win_rate_vs_.+(?<!_low)(?<!_high)")
"""Of an evaluation's many figures; what a reference wins says the same again."""


def check_cells(config: SweepConfig) -> None:
    """Raises `UserError` for a cell that can't work, so that none runs in vain."""
    if not config.cells:
        raise UserError("cells: a sweep needs at least one")
    known = load_spec(config.base.plugin).config
    for name, cell in config.cells.items():
        check_name(name)
        if cell.plugin != config.base.plugin:
            raise UserError(f"cells.{name}.plugin = {cell.plugin!r}: all cells are made by {config.base.plugin!r}")
        try:
            convert_config(cell_config(config, name), known)
        except ConfigError as error:
            raise UserError(f"cell {name}: {error}") from None
    listed = [name for names in config.rows.values() for name in names]
    if sorted(listed) != sorted(config.cells):
        raise UserError("rows: each cell must be in one row, once")


def cell_config(config: SweepConfig, name: str) -> dict[str, Any]:
    """The base with what differs."""
    return _over(config.base.config, config.cells[name].config)


def _over(base: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    made = dict(base)
    for key, value in above.items():
        below = made.get(key)
        made[key] = _over(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return made


def cell_provenance(provenance: Mapping[str, str], name: str) -> dict[str, str]:
    """Where each value of a cell came from, as the sweep's own record says it."""
    found = dict[str, str]()
    for prefix in ("base.config.", f"cells.{name}.config."):
        found |= {key.removeprefix(prefix): origin for key, origin in provenance.items() if key.startswith(prefix)}
    return found


def processes_of(plugin: str, options: AttemptOptions) -> AttemptOptions:
    """What a sweep was started with, for a cell: its `stage_processes` are the cell's, or those of the cell's stages.

    Raises `UserError` for a plugin that works in one process.
    """
    processes = options.stage_processes
    if processes < 2 or plugin == PIPELINE:
        return options
    if "ranks" not in load_spec(plugin).capabilities:
        raise UserError(f"--nproc {processes}: plugin {plugin!r} works in one process")
    return structs.replace(options, processes=processes, stage_processes=0)


def figures_of(run: RunDir) -> dict[str, float]:
    """The last value of each of the plugin's headline metrics, the plain figures among its results, and win rates.

    Of a pipeline those of all its stages, as "STAGE: FIGURE".
    """
    headline = load_spec(run.record().plugin).headline
    stages, found = dict[str, str](), dict[str, float]()
    for event in run.events():
        if isinstance(event, ChildRun):
            stages[event.stage] = event.run_id
        elif isinstance(event, MetricsLogged):
            found |= {name: event.values[name] for name in headline if name in event.values}
        elif isinstance(event, Result):
            found |= dict(_figures(event.data))
    if not stages:
        return found
    return {
        f"{stage}: {name}": value
        for stage, run_id in stages.items()
        for name, value in figures_of(RunDir(run.root / run_id)).items()
    }


def _figures(result: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in result.items():
        if _is_number(value):
            yield name, float(value)
    named = result.get("figures")
    for name, value in named.items() if isinstance(named, dict) else ():
        if WIN_RATE.fullmatch(name) and _is_number(value):
            yield name, float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
