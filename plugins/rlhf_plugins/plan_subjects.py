"""What advice beside a memory plan is about: a plugin's run, a pipeline, or one stage of it, with any settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from rlhf_engine.errors import ConfigError
from rlhf_engine.ranked_plan.places import of_one_rank
from rlhf_engine.ranked_plan.traffic import Sent
from rlhf_plugins.pipeline import PipelineConfig
from rlhf_plugins.pipeline_plan import LinkedStage, linked_stage, plan_pipeline, stage_rows
from rlhf_plugins.plans import STAGE_PLANS, planned, with_run_directories
from rlhf_sdk.planning import AdviceRequest
from rlhf_sdk.spec import PlanRow
from rlhf_sdk.trainer import UserError

PIPELINE = "pipeline"

Changes = dict[str, Any]
"""Values by dotted key of a stage's config."""


class Single:
    """One plugin's run, of so many ranks."""

    def __init__(self, plugin: str, config: Any, ranks: int) -> None:
        self.plugin, self.ranks = plugin, ranks
        self.stages: Mapping[str, Any] = {plugin: config}

    def rows(self, stage: str, changes: Changes) -> list[PlanRow]:
        """The memory plan of all, with other values of a stage's keys."""
        plan = STAGE_PLANS[self.plugin].plan
        return planned(plan, changed(self.stages[stage], changes), self.ranks_of(stage))

    stage_rows = rows
    """The memory plan of a stage alone."""

    def linked(self, stage: str, changes: Changes | None = None) -> LinkedStage:
        """A stage as it will be, whatever its links name; models that are runs as their directories."""
        plan = STAGE_PLANS[self.plugin]
        config = with_run_directories(changed(self.stages[stage], changes or {}))
        return LinkedStage(plan.plan, plan.traffic, config)

    def ranks_of(self, stage: str) -> int:
        """1 for a plugin that works in one process."""
        return self.ranks if STAGE_PLANS[self._plugin_of(stage)].traffic else 1

    def traffic(self, stage: str, changes: Changes) -> Sequence[Sent]:
        """What one rank sends in a step; nothing where it is alone."""
        linked, ranks = self.linked(stage, changes), self.ranks_of(stage)
        if linked.traffic is None or ranks == 1:
            return []
        try:
            return linked.traffic(linked.config, ranks)
        except ConfigError as error:
            raise UserError(str(error)) from error

    def share_of(self, stage: str, changes: Changes) -> Any:
        """A linked stage's config with one rank's share of the batch. Raises `UserError` where it can't be dealt."""
        ranks, config = self.ranks_of(stage), self.linked(stage, changes).config
        try:
            return of_one_rank(config, ranks) if ranks > 1 else config
        except ConfigError as error:
            raise UserError(str(error)) from error

    def _plugin_of(self, stage: str) -> str:
        return self.plugin


class Pipeline(Single):
    """Every stage of a pipeline that has a plan and is to run."""

    def __init__(self, config: PipelineConfig, ranks: int) -> None:
        self.config, self.ranks = config, ranks
        self.stages: Mapping[str, Any] = {
            name: msgspec.convert(stage.config, STAGE_PLANS[stage.plugin].config)
            for name, stage in config.stages.items()
            if stage.plugin in STAGE_PLANS and name not in config.reuse
        }

    def rows(self, stage: str, changes: Changes) -> list[PlanRow]:
        return plan_pipeline(self._changed(stage, changes), self.ranks)

    def stage_rows(self, stage: str, changes: Changes) -> list[PlanRow]:
        return stage_rows(stage, self._changed(stage, changes), self.ranks)

    def linked(self, stage: str, changes: Changes | None = None) -> LinkedStage:
        found = linked_stage(stage, self._changed(stage, changes or {}))
        return found._replace(config=with_run_directories(found.config))

    def _plugin_of(self, stage: str) -> str:
        return self.config.stages[stage].plugin

    def _changed(self, stage: str, changes: Changes) -> PipelineConfig:
        values = msgspec.to_builtins(changed(self.stages[stage], changes))
        other = msgspec.structs.replace(self.config.stages[stage], config=values)
        return msgspec.structs.replace(self.config, stages={**self.config.stages, stage: other})


class Stage(Pipeline):
    """One stage of a pipeline."""

    def __init__(self, stage: str, config: PipelineConfig, ranks: int) -> None:
        super().__init__(config, ranks)
        self.stages = {stage: self.stages[stage]}

    def rows(self, stage: str, changes: Changes) -> list[PlanRow]:
        return self.stage_rows(stage, changes)


def subject_of(request: AdviceRequest) -> Single:
    """A pipeline, one stage of it whose links its other stages explain, or a plugin's run by itself."""
    if request.plugin == PIPELINE:
        return Pipeline(request.config, request.ranks.size)
    if not request.stages:
        return Single(request.plugin, request.config, request.ranks.size)
    own = {"plugin": request.plugin, "config": msgspec.to_builtins(request.config)}
    stages = {**request.stages, request.plugin: own}
    return Stage(request.plugin, msgspec.convert({"stages": stages}, PipelineConfig), request.ranks.size)


def changed(config: Any, changes: Changes) -> Any:
    """The config with other values, by dotted keys."""
    values = msgspec.to_builtins(config)
    for key, value in changes.items():
        *sections, last = key.split(".")
        table = values
        for section in sections:
            table[section] = table[section] or {}
            table = table[section]
        table[last] = value
    return msgspec.convert(values, type(config))
