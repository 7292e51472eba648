"""The memory plan of a pipeline: models that an earlier stage will make have that stage's sizes. Torch-free."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import msgspec

from rlhf_engine import comparison_plan, layout_plan, memory_plan
from rlhf_engine.comparison_plan import reward_model_shape
from rlhf_engine.config import (
    CriticFreeConfig,
    EvalConfig,
    LoraConfig,
    ModelConfig,
    OnlineConfig,
    PairsConfig,
    PPOConfig,
    RMConfig,
)
from rlhf_engine.known_models import ModelShape, shape_of
from rlhf_engine.memory_rows import PEAK, MemoryRow, with_peak
from rlhf_engine.ranked_plan import steps
from rlhf_engine.ranked_plan.traffic import Sent
from rlhf_plugins.plans import MODEL_FIELDS, STAGE_PLANS, planned, saved_adapter, with_paths, with_probe_model
from rlhf_sdk.references import RUN_PREFIX, STAGE_PREFIX, resolve
from rlhf_sdk.run_root import run_root
from rlhf_sdk.spec import PlanRow


class LinkedStage(NamedTuple):
    """How a stage is planned (`StagePlan`), and its config, which describes models that an earlier stage will make."""

    plan: Callable[..., Sequence[MemoryRow]]
    traffic: Callable[[Any, int], Sequence[Sent]] | None
    config: Any


def plan_pipeline(config: Any, ranks: int = 1) -> list[PlanRow]:
    """Rows of every stage that has a plan, phases as "STAGE: PHASE", and the peak of the stage that needs most."""
    rows: list[PlanRow] = []
    for name, stage in config.stages.items():
        if stage.plugin in STAGE_PLANS and name not in config.reuse:
            rows += [PlanRow(row.what, f"{name}: {row.phase}", row.bytes) for row in stage_rows(name, config, ranks)]
    peaks = [row for row in rows if row.what == PEAK]
    rows = [row for row in rows if row.what != PEAK]
    return rows + ([max(peaks, key=lambda row: row.bytes)] if peaks else [])


def stage_rows(name: str, pipeline: Any, ranks: int = 1) -> list[PlanRow]:
    """Rows of one stage, of one of its `ranks` if it can have several.

    Raises `UserError` where a model's sizes can't be known.
    """
    stage = linked_stage(name, pipeline)
    return planned(stage.plan, stage.config, ranks if stage.traffic else 1)


def linked_stage(name: str, pipeline: Any) -> LinkedStage:
    """The stage `name` as it will be when those before it are done."""
    links, stage = _Links(pipeline), pipeline.stages[name]
    plan = STAGE_PLANS[stage.plugin]
    config = msgspec.convert(stage.config, plan.config)
    if isinstance(config, EvalConfig):
        evaluation, unlinked = links.planned_evaluation(config.with_named_policies())
        return LinkedStage(evaluation, None, unlinked)
    linked = links.with_linked_models(config)
    if isinstance(config, PairsConfig):
        return LinkedStage(partial(comparison_plan.plan_pairs, scalar=links.reward_shape(config)), None, linked)
    if isinstance(config, PPOConfig):
        adapter = links.stage_adapter(config) or saved_adapter(linked.reward_model.path)
        scalar, second = links.reward_shape(config), links.second_shape(config)
        rows = partial(layout_plan.plan_ppo, scalar=scalar, reward_adapter=adapter, second=second)
        return LinkedStage(rows, partial(steps.ppo_traffic, scalar=scalar, reward_adapter=adapter), linked)
    if isinstance(config, CriticFreeConfig):
        scalar = links.reward_shape(config)
        rows = partial(layout_plan.plan_critic_free, scalar=scalar, second=links.second_shape(config))
        return LinkedStage(rows, partial(steps.critic_free_traffic, scalar=scalar), linked)
    return LinkedStage(plan.plan, plan.traffic, linked)


class _Links:
    """What "stage:NAME" stands for in a pipeline."""

    def __init__(self, pipeline: Any) -> None:
        self.stages, self.reuse = pipeline.stages, pipeline.reuse

    def config_of(self, path: str) -> Any:
        """The config of the stage that a path names; None where it names none, or a finished run stands in for it."""
        name = path.removeprefix(STAGE_PREFIX)
        if not path.startswith(STAGE_PREFIX) or name in self.reuse:
            return None
        stage = self.stages[name]
        return msgspec.convert(stage.config, STAGE_PLANS[stage.plugin].config)

    def with_linked_models(self, config: Any) -> Any:
        """`config` with each model "stage:NAME" as that stage will leave it: its sizes, its tokenizer.

        The probe's own reward model is left out: it has no field for sizes (`second_shape`).
        """
        for field in MODEL_FIELDS:
            model: ModelConfig | None = getattr(config, field, None)
            if model is not None and model.path.startswith(STAGE_PREFIX):
                config = self._with_model_of(config, field, model)
        if isinstance(config, OnlineConfig) and config.probe.reward_model.startswith(STAGE_PREFIX):
            return with_probe_model(config, "")
        return config

    def _with_model_of(self, config: Any, field: str, model: ModelConfig) -> Any:
        stage = self.config_of(model.path)
        if stage is None:
            return with_paths(config, {field: self.run_of(model.path)})
        origin = self.with_linked_models(stage)
        linked = msgspec.structs.replace(origin.model, gradient_checkpointing=model.gradient_checkpointing)
        return msgspec.structs.replace(config, **{field: linked, "tokenizer": origin.tokenizer})

    def run_of(self, path: str) -> str:
        """The finished run that stands in for the stage that `path` names; other paths as they are."""
        if not path.startswith(STAGE_PREFIX):
            return path
        return f"{RUN_PREFIX}{self.reuse[path.removeprefix(STAGE_PREFIX)].removeprefix(RUN_PREFIX)}"

    def reward_shape(self, config: Any) -> ModelShape | None:
        """The reward model with the heads that its stage gives it; None where no stage of the pipeline makes it."""
        stage = self.config_of(config.reward_model.path)
        return reward_model_shape(self.with_linked_models(stage)) if isinstance(stage, RMConfig) else None

    def second_shape(self, config: OnlineConfig) -> ModelShape | None:
        """The shape of the probe's own reward model; None where no stage of the pipeline makes it."""
        path = config.probe.reward_model
        return self.shape_of(path, config) if config.probe.every and path.startswith(STAGE_PREFIX) else None

    def stage_adapter(self, config: PPOConfig) -> LoraConfig | None:
        """The adapter that an earlier stage will train as a reward model on the policy's own backbone."""
        stage = self.config_of(config.reward_model.path)
        return stage.lora if isinstance(stage, RMConfig) and stage.model.path == config.model.path else None

    def planned_evaluation(self, config: EvalConfig) -> tuple[Callable[[Any], Sequence[MemoryRow]], Any]:
        policies = [self.shape_of(path, config) for path in config.policies.values()]
        scalar = self.shape_of(config.reward_model, config) if config.reward_model else None
        unlinked = msgspec.structs.replace(config, policies={}, reward_model="")
        return lambda found: with_peak(memory_plan.evaluation_rows(found, policies, scalar)), unlinked

    def shape_of(self, path: str, config: EvalConfig | OnlineConfig) -> ModelShape:
        """The shape of a model that a config names. Raises ConfigError where its sizes can't be known."""
        stage = self.config_of(path)
        if stage is None:
            found = resolve(run_root(), {"path": self.run_of(path)}, weights=False)["path"]
            return shape_of(ModelConfig(path=found), config.tokenizer, key="model")
        linked = self.with_linked_models(stage)
        return reward_model_shape(linked) if isinstance(linked, RMConfig) else shape_of(linked.model, linked.tokenizer)
