"""What `rlhf check` asks of the trainers on the engine, and of pipelines of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from rlhf_plugins.checking.findings import memory_row, text_rows, time_row, update_rows, weight_rows
from rlhf_plugins.checking.stand_ins import StandIns, without_links
from rlhf_plugins.checking.trial import Trial
from rlhf_plugins.engine_trainer import translated_errors
from rlhf_plugins.pipeline import PipelineConfig
from rlhf_sdk.config_errors import convert_config
from rlhf_sdk.discovery import load_spec
from rlhf_sdk.references import resolve
from rlhf_sdk.run_root import run_root
from rlhf_sdk.spec import CheckRequest, CheckRow
from rlhf_sdk.trainer import DivergedError, UserError


def check(request: CheckRequest) -> Iterator[CheckRow]:
    """Tries what a run of the config would do, on few rows; a trainer that can't begin or go on is a row that fails."""
    with TemporaryDirectory(prefix="rlhf-check-") as folder:
        doing = "links"
        try:
            with translated_errors():
                stand_ins = without_links(request.config, request.stages, Path(folder))
                yield from stand_ins.rows
                doing = "setup"
                yield memory_row(request.plugin, stand_ins.config)
                trial = Trial.prepared(request.plugin, stand_ins.config, Path(folder) / "run")
                yield _setup_row(trial)
                doing = "update"
                yield from _trial_rows(trial, stand_ins)
        except (UserError, DivergedError) as error:
            yield CheckRow(doing, "fail", meaning=str(error))


def _setup_row(trial: Trial) -> CheckRow:
    return CheckRow("setup", "ok", trial.setup_seconds, meaning="seconds to load data and models, few rows of them")


def _trial_rows(trial: Trial, stand_ins: StandIns) -> Iterator[CheckRow]:
    examples = trial.examples()
    yield from text_rows(trial, examples, stand_ins)
    yield from weight_rows(trial, examples, stand_ins)
    yield from update_rows(trial, stand_ins)
    yield time_row(trial, stand_ins.config)


def check_pipeline(request: CheckRequest) -> Iterator[CheckRow]:
    """Every stage that has a check and is not reused, rows as "STAGE: NAME"."""
    config: PipelineConfig = request.config
    stages = msgspec.to_builtins(config.stages)
    for name, stage in config.stages.items():
        spec = load_spec(stage.plugin)
        if name in config.reuse:
            yield CheckRow(name, "skipped", meaning=f"run {config.reuse[name]} is used instead")
        elif not spec.check:
            yield CheckRow(name, "skipped", meaning=f"plugin {stage.plugin!r} has no check")
        else:
            complete = convert_config(resolve(run_root(), stage.config), spec.config)
            for row in check(CheckRequest(stage.plugin, complete, stages)):
                yield msgspec.structs.replace(row, name=f"{name}: {row.name}")
