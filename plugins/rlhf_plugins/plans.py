"""Memory plans as the contract's rows; models named as other runs are looked up first. Torch-free."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from rlhf_engine import comparison_plan, layout_plan, memory_plan
from rlhf_engine.config import (
    CriticFreeConfig,
    DistilConfig,
    DPOConfig,
    EvalConfig,
    GRPOConfig,
    IPOConfig,
    KTOConfig,
    LoraConfig,
    OnlineConfig,
    PairsConfig,
    PPOConfig,
    PreferenceConfig,
    PretrainConfig,
    RLOOConfig,
    RMConfig,
    SFTConfig,
)
from rlhf_engine.errors import ConfigError
from rlhf_engine.memory_rows import MemoryRow
from rlhf_engine.ranked_plan import steps
from rlhf_engine.ranked_plan.traffic import Sent
from rlhf_sdk.references import RUN_PREFIX, STAGE_PREFIX, resolve
from rlhf_sdk.run_root import run_root
from rlhf_sdk.spec import PlanRow
from rlhf_sdk.trainer import UserError

MODEL_FIELDS = ("model", "reward_model", "ref_model", "sft_model", "against", "teacher")
PROBE_MODEL = "probe.reward_model"


@dataclass(frozen=True)
class StagePlan:
    """How a plugin's memory is planned, the type of its config, and what one of its ranks sends.

    `plan` and `traffic` take a config and a number of ranks; without `traffic` a plugin has one process, and `plan`
    takes a config alone.
    """

    plan: Callable[..., Sequence[MemoryRow]]
    config: type[Any]
    traffic: Callable[[Any, int], Sequence[Sent]] | None = None


def plan_pretrain(config: PretrainConfig) -> list[PlanRow]:
    """Memory rows of a pre-training run."""
    return planned(memory_plan.plan_pretrain, config)


def plan_sft(config: SFTConfig) -> list[PlanRow]:
    """Memory rows of a supervised fine-tuning run."""
    return planned(memory_plan.plan_sft, config)


def plan_rm(config: RMConfig) -> list[PlanRow]:
    """Memory rows of a reward-model run."""
    return planned(comparison_plan.plan_rm, config)


def plan_ppo(config: PPOConfig) -> list[PlanRow]:
    """Memory rows of a PPO run."""
    return planned(_ppo_rows, config)


def plan_pairs(config: PairsConfig) -> list[PlanRow]:
    """Memory rows of a run that samples pairs."""
    return planned(comparison_plan.plan_pairs, config)


def plan_preferences(config: PreferenceConfig) -> list[PlanRow]:
    """Memory rows of a DPO, IPO or KTO run."""
    return planned(comparison_plan.plan_preferences, config)


def plan_critic_free(config: CriticFreeConfig) -> list[PlanRow]:
    """Memory rows of an RLOO or GRPO run."""
    return planned(layout_plan.plan_critic_free, config)


def plan_distil(config: DistilConfig) -> list[PlanRow]:
    """Memory rows of a distillation run."""
    return planned(memory_plan.plan_distil, config)


def plan_eval(config: EvalConfig) -> list[PlanRow]:
    """Memory rows of an evaluation."""
    return planned(memory_plan.plan_eval, config)


def planned(plan: Callable[..., Sequence[MemoryRow]], config: Any, ranks: int = 1) -> list[PlanRow]:
    """The plan's rows, of one of the `ranks`. Raises `UserError` where a model's sizes can't be known."""
    config = with_run_directories(config)
    try:
        return [PlanRow(*row) for row in (plan(config, ranks) if ranks > 1 else plan(config))]
    except ConfigError as error:
        raise UserError(str(error)) from error


def _ppo_rows(config: PPOConfig, ranks: int = 1) -> list[MemoryRow]:
    return layout_plan.plan_ppo(config, ranks, reward_adapter=saved_adapter(config.reward_model.path))


def _ppo_traffic(config: PPOConfig, ranks: int) -> list[Sent]:
    return steps.ppo_traffic(config, ranks, reward_adapter=saved_adapter(config.reward_model.path))


def saved_adapter(model: str) -> LoraConfig | None:
    """The adapter in a model's directory, if any."""
    file = Path(model) / "adapter" / "adapter_config.json"
    if not file.is_file():
        return None
    saved = json.loads(file.read_text())
    return LoraConfig(rank=saved["r"], alpha=saved["lora_alpha"], targets=sorted(saved["target_modules"]))


def with_run_directories(config: Any) -> Any:
    """The config with the directories of models that it names as runs. Raises `UserError` where there is none."""
    paths = _model_paths(config)
    for name, path in paths.items():
        if path.startswith(STAGE_PREFIX):
            stage = path.removeprefix(STAGE_PREFIX)
            raise UserError(f"{name} = {path!r} is a link within a pipeline: --from {stage}=RUN names the run")
    if isinstance(config, EvalConfig):
        return _with_evaluated(config, resolve(run_root(), paths, weights=False))
    found = resolve(
        run_root(), {key: path for key, path in paths.items() if path.startswith(RUN_PREFIX)}, weights=False
    )
    if PROBE_MODEL in found:
        config = with_probe_model(config, found.pop(PROBE_MODEL))
    return with_paths(config, {key.partition(".")[0]: path for key, path in found.items()})


def _model_paths(config: Any) -> dict[str, str]:
    if isinstance(config, EvalConfig):
        policies = {f"policies.{name}": path for name, path in config.with_named_policies().policies.items()}
        return policies | {"reward_model": config.reward_model}
    paths = {f"{name}.path": getattr(config, name).path for name in MODEL_FIELDS if hasattr(config, name)}
    return paths | ({PROBE_MODEL: config.probe.reward_model} if isinstance(config, OnlineConfig) else {})


def _with_evaluated(config: EvalConfig, paths: dict[str, str]) -> EvalConfig:
    policies = {name: paths[f"policies.{name}"] for name in config.with_named_policies().policies}
    return msgspec.structs.replace(config, policies=policies, reward_model=paths["reward_model"])


def with_probe_model(config: Any, path: str) -> Any:
    """The config of an online run with another second reward model."""
    return msgspec.structs.replace(config, probe=msgspec.structs.replace(config.probe, reward_model=path))


def with_paths(config: Any, paths: dict[str, str]) -> Any:
    """The config with other paths of models, by the model's key."""
    changed = {name: msgspec.structs.replace(getattr(config, name), path=path) for name, path in paths.items()}
    return msgspec.structs.replace(config, **changed)


STAGE_PLANS: dict[str, StagePlan] = {
    "pretrain": StagePlan(memory_plan.plan_pretrain, PretrainConfig, steps.pretrain_traffic),
    "sft": StagePlan(memory_plan.plan_sft, SFTConfig, steps.sft_traffic),
    "rm": StagePlan(comparison_plan.plan_rm, RMConfig, steps.rm_traffic),
    "pairs": StagePlan(comparison_plan.plan_pairs, PairsConfig),
    "ppo": StagePlan(_ppo_rows, PPOConfig, _ppo_traffic),
    "rloo": StagePlan(layout_plan.plan_critic_free, RLOOConfig, steps.critic_free_traffic),
    "grpo": StagePlan(layout_plan.plan_critic_free, GRPOConfig, steps.critic_free_traffic),
    "dpo": StagePlan(comparison_plan.plan_preferences, DPOConfig, steps.preferences_traffic),
    "ipo": StagePlan(comparison_plan.plan_preferences, IPOConfig, steps.preferences_traffic),
    "kto": StagePlan(comparison_plan.plan_preferences, KTOConfig, steps.preferences_traffic),
    "distil": StagePlan(memory_plan.plan_distil, DistilConfig),
    "eval": StagePlan(memory_plan.plan_eval, EvalConfig),
}
"""By plugin."""
