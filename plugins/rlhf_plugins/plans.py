"""Memory plans as the contract's rows; models named as other runs or stages are looked up first. Torch-free."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from rlhf_engine import layout_plan, memory_plan
from rlhf_engine.config import (
    CriticFreeConfig,
    DistilConfig,
    DPOConfig,
    GRPOConfig,
    IPOConfig,
    KTOConfig,
    LoraConfig,
    ModelConfig,
    PPOConfig,
    PreferenceConfig,
    PretrainConfig,
    RLOOConfig,
    RMConfig,
    SFTConfig,
)
from rlhf_engine.errors import ConfigError
from rlhf_engine.memory_rows import MemoryRow
from rlhf_sdk.references import RUN_PREFIX, STAGE_PREFIX, resolve
from rlhf_sdk.run_root import run_root
from rlhf_sdk.spec import PlanRow
from rlhf_sdk.trainer import UserError

MODEL_FIELDS = ("model", "reward_model", "teacher")
PEAK = "peak"


def plan_pretrain(config: PretrainConfig) -> list[PlanRow]:
    """Memory rows of a pre-training run."""
    return _rows(memory_plan.plan_pretrain, config)


def plan_sft(config: SFTConfig) -> list[PlanRow]:
    """Memory rows of a supervised fine-tuning run."""
    return _rows(memory_plan.plan_sft, config)


def plan_rm(config: RMConfig) -> list[PlanRow]:
    """Memory rows of a reward-model run."""
    return _rows(memory_plan.plan_rm, config)


def plan_ppo(config: PPOConfig) -> list[PlanRow]:
    """Memory rows of a PPO run."""
    return _rows(_ppo_rows, config)


def plan_preferences(config: PreferenceConfig) -> list[PlanRow]:
    """Memory rows of a DPO, IPO or KTO run."""
    return _rows(memory_plan.plan_preferences, config)


def plan_critic_free(config: CriticFreeConfig) -> list[PlanRow]:
    """Memory rows of an RLOO or GRPO run."""
    return _rows(memory_plan.plan_critic_free, config)


def plan_distil(config: DistilConfig) -> list[PlanRow]:
    """Memory rows of a distillation run."""
    return _rows(memory_plan.plan_distil, config)


def plan_pipeline(config: Any) -> list[PlanRow]:
    """Rows of every stage that has a plan, phases as "STAGE: PHASE", and the peak of the stage that needs most."""
    rows: list[PlanRow] = []
    for name, stage in config.stages.items():
        if stage.plugin in _PLANS and name not in config.reuse:
            found = _stage_rows(stage, config)
            rows += [PlanRow(row.what, f"{name}: {row.phase}", row.bytes) for row in found]
    peaks = [row for row in rows if row.what == PEAK]
    rows = [row for row in rows if row.what != PEAK]
    return rows + ([max(peaks, key=lambda row: row.bytes)] if peaks else [])


def _stage_rows(stage: Any, pipeline: Any) -> list[PlanRow]:
    plan, kind = _PLANS[stage.plugin]
    config = msgspec.convert(stage.config, kind)
    linked = _with_linked_models(config, pipeline)
    if isinstance(config, PPOConfig):
        return _rows(partial(_ppo_rows, stage_adapter=_stage_adapter(config, pipeline)), linked)
    return plan(linked)


def _stage_adapter(config: PPOConfig, pipeline: Any) -> LoraConfig | None:
    """The adapter that an earlier stage will train as a reward model on the policy's own backbone."""
    name = config.reward_model.path.removeprefix(STAGE_PREFIX)
    if not config.reward_model.path.startswith(STAGE_PREFIX) or name in pipeline.reuse:
        return None
    reward_model = msgspec.convert(pipeline.stages[name].config, RMConfig)
    return reward_model.lora if reward_model.model.path == config.model.path else None


def _ppo_rows(config: PPOConfig, stage_adapter: LoraConfig | None = None) -> list[MemoryRow]:
    return layout_plan.plan_ppo(config, reward_adapter=stage_adapter or _saved_adapter(config.reward_model.path))


def _saved_adapter(model: str) -> LoraConfig | None:
    """The adapter in a model's directory, if any."""
    file = Path(model) / "adapter" / "adapter_config.json"
    if not file.is_file():
        return None
    saved = json.loads(file.read_text())
    return LoraConfig(rank=saved["r"], alpha=saved["lora_alpha"], targets=sorted(saved["target_modules"]))


def _with_linked_models(config: Any, pipeline: Any) -> Any:
    """`config` with each model "stage:NAME" as that stage will leave it: its sizes, its tokenizer."""
    for field in MODEL_FIELDS:
        model: ModelConfig | None = getattr(config, field, None)
        if model is not None and model.path.startswith(STAGE_PREFIX):
            name = model.path.removeprefix(STAGE_PREFIX)
            config = _with_model_of(config, field, model, name, pipeline)
    return config


def _with_model_of(config: Any, field: str, model: ModelConfig, name: str, pipeline: Any) -> Any:
    if name in pipeline.reuse:
        return _with_paths(config, {field: f"{RUN_PREFIX}{pipeline.reuse[name].removeprefix(RUN_PREFIX)}"})
    stage = pipeline.stages[name]
    origin = _with_linked_models(msgspec.convert(stage.config, _PLANS[stage.plugin][1]), pipeline)
    linked = msgspec.structs.replace(origin.model, gradient_checkpointing=model.gradient_checkpointing)
    return msgspec.structs.replace(config, **{field: linked, "tokenizer": origin.tokenizer})


def _rows(plan: Callable[[Any], Sequence[MemoryRow]], config: Any) -> list[PlanRow]:
    """Raises `UserError` where a model's sizes can't be known."""
    try:
        return [PlanRow(*row) for row in plan(_with_run_directories(config))]
    except ConfigError as error:
        raise UserError(str(error)) from error


def _with_run_directories(config: Any) -> Any:
    models = {name: getattr(config, name) for name in MODEL_FIELDS if hasattr(config, name)}
    for name, model in models.items():
        if model.path.startswith(STAGE_PREFIX):
            stage = model.path.removeprefix(STAGE_PREFIX)
            raise UserError(
                f"{name}.path = {model.path!r} is a link within a pipeline: --from {stage}=RUN names the run"
            )
    named = {name: model for name, model in models.items() if model.path.startswith(RUN_PREFIX)}
    found = {name: resolve(run_root(), {"path": model.path})["path"] for name, model in named.items()}
    return _with_paths(config, found)


def _with_paths(config: Any, paths: dict[str, str]) -> Any:
    changed = {name: msgspec.structs.replace(getattr(config, name), path=path) for name, path in paths.items()}
    return msgspec.structs.replace(config, **changed)


_PLANS: dict[str, tuple[Callable[[Any], list[PlanRow]], type[Any]]] = {
    "pretrain": (plan_pretrain, PretrainConfig),
    "sft": (plan_sft, SFTConfig),
    "rm": (plan_rm, RMConfig),
    "ppo": (plan_ppo, PPOConfig),
    "rloo": (plan_critic_free, RLOOConfig),
    "grpo": (plan_critic_free, GRPOConfig),
    "dpo": (plan_preferences, DPOConfig),
    "ipo": (plan_preferences, IPOConfig),
    "kto": (plan_preferences, KTOConfig),
    "distil": (plan_distil, DistilConfig),
}
