"""Stages of training, one after another, each a run of its own."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from rlhf_sdk.spec import PluginSpec


class StageConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One stage."""

    plugin: Annotated[str, Meta(description="the trainer that does it")]
    config: Annotated[
        dict[str, Any], Meta(description='its config; "stage:NAME" stands for the run of an earlier stage')
    ] = {}


class PipelineConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Stages in order, and finished runs that stand in for some of them."""

    stages: Annotated[dict[str, StageConfig], Meta(description="the stages by name, in order")]
    reuse: Annotated[dict[str, str], Meta(description="stage -> id of a finished run that is used instead")] = {}


plugin = PluginSpec(
    name="pipeline",
    summary="Stages of training, one after another, each a run of its own",
    config=PipelineConfig,
    trainer="rlhf_plugins.pipeline.trainer:PipelineTrainer",
    headline=["pipeline/stages_finished"],
    capabilities=["checkpoint"],
    plan="rlhf_plugins.pipeline_plan:plan_pipeline",
    cost="rlhf_plugins.judges.cost:pipeline_cost",
    advice="rlhf_plugins.plan_advice:advise",
    check="rlhf_plugins.checking.hook:check_pipeline",
)
