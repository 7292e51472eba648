"""Links between stages: checked before anything runs, replaced by run references when a stage begins."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlhf_plugins.pipeline import PipelineConfig, StageConfig
from rlhf_sdk.config_errors import ConfigError, convert_config
from rlhf_sdk.discovery import load_spec
from rlhf_sdk.references import RUN_PREFIX, STAGE_PREFIX, map_strings
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_root import check_name, find_run
from rlhf_sdk.spelling import nearest
from rlhf_sdk.states import State
from rlhf_sdk.trainer import UserError


def check_stages(config: PipelineConfig) -> None:
    """Raises `UserError` for a stage whose plugin, config or links can't work, so that no stage runs in vain."""
    if not config.stages:
        raise UserError("stages: a pipeline needs at least one")
    earlier: list[str] = []
    for name, stage in config.stages.items():
        check_name(name)
        try:
            convert_config(stage.config, load_spec(stage.plugin).config)
        except ConfigError as error:
            raise UserError(f"stage {name}: {error}") from None
        for linked in linked_stages(stage):
            _check_link(linked, name, earlier)
        earlier.append(name)


def _check_link(linked: str, stage: str, earlier: list[str]) -> None:
    if linked not in earlier:
        there = ", ".join(earlier) or "it is the first"
        link = f"'{STAGE_PREFIX}{linked}'"
        raise UserError(f"stage {stage}: {link} names no earlier stage ({there}).{nearest(linked, earlier)}")


def linked_config(stage: StageConfig, runs: Mapping[str, str]) -> dict[str, Any]:
    """The stage's config with each "stage:NAME" replaced by "run:ID"; `runs` maps a stage to its run."""
    config: dict[str, Any] = map_strings(stage.config, lambda text: _reference(text, runs))
    return config


def linked_stages(stage: StageConfig) -> set[str]:
    """The stages that a stage's config links to."""
    found: set[str] = set()

    def remember(text: str) -> str:
        if text.startswith(STAGE_PREFIX):
            found.add(text.removeprefix(STAGE_PREFIX))
        return text

    map_strings(stage.config, remember)
    return found


def _reference(text: str, runs: Mapping[str, str]) -> str:
    return RUN_PREFIX + runs[text.removeprefix(STAGE_PREFIX)] if text.startswith(STAGE_PREFIX) else text


def reused_runs(root: Path, config: PipelineConfig) -> dict[str, RunDir]:
    """The runs that stand in for stages. Raises `UserError` unless each is a finished run of the stage's plugin."""
    found = {}
    for stage, run_id in config.reuse.items():
        if stage not in config.stages:
            raise UserError(f"reuse: there is no stage {stage!r}.{nearest(stage, config.stages)}")
        run = find_run(root, run_id.removeprefix(RUN_PREFIX).partition("@")[0])
        plugin, wanted, state = run.record().plugin, config.stages[stage].plugin, run.state()
        if plugin != wanted:
            raise UserError(f"reuse: run {run.id} was made by {plugin!r}, but stage {stage} needs {wanted!r}")
        if state is not State.FINISHED:
            raise UserError(f"reuse: run {run.id} for stage {stage} is {state}, not finished")
        found[stage] = run
    return found
