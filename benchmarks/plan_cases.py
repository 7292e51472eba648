"""What updates are measured on: models and rows of some sizes, alone or on ranks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from torch import nn

from benchmarks.tiny_models import CPU, LORA
from benchmarks.wire_meter import NotedPhases
from rlhf_engine.config import (
    Architecture,
    DataConfig,
    InitConfig,
    LoraConfig,
    ModelConfig,
    OptimizerConfig,
    PrecisionConfig,
    ShardingConfig,
    ShardingLayout,
)
from rlhf_engine.memory_rows import MemoryRow
from rlhf_engine.optim import ScheduledAdamW
from rlhf_engine.ranked_plan.traffic import Sent
from rlhf_engine.ranks import ALONE, Ranks
from rlhf_engine.scalar_heads import HeadShape
from rlhf_engine.sharding.roles import lay_out

ROWS, MICRO_BATCH = 16, 8
TARGETS = {"llama": ["q_proj", "v_proj"], "gpt_neox": ["query_key_value"], "gpt2": ["c_attn"]}
HOOKS = NotedPhases()

Update = Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """An update, its plan's rows and what that says that a rank sends; models and optimizers by role."""

    update: Update
    rows: Sequence[MemoryRow]
    sent: Sequence[Sent]
    models: Mapping[str, nn.Module]
    optimizers: Mapping[str, ScheduledAdamW]


@dataclass(frozen=True, kw_only=True)
class Size:
    """Of a model and its rows, in elements and tokens."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    intermediate: int
    vocabulary: int
    prompt: int
    response: int


@dataclass(frozen=True)
class Case:
    """One combination; `trainer` is a key of UPDATES."""

    trainer: str
    family: Architecture
    size_name: str
    size: Size
    bf16: bool
    gradient_checkpointing: bool
    ranks: Ranks = ALONE
    sharding: ShardingLayout = "ddp"

    @property
    def name(self) -> str:
        numbers = "bf16" if self.bf16 else "fp32"
        recomputed = ", checkpointing" if self.gradient_checkpointing else ""
        ranked = f", {self.sharding}" if self.ranks.size > 1 else ""
        return f"{self.trainer}, {self.family}, {self.size_name}, {numbers}{recomputed}{ranked}"

    @property
    def init(self) -> InitConfig:
        size = self.size
        return InitConfig(
            architecture=self.family,
            hidden_size=size.hidden,
            layers=size.layers,
            heads=size.heads,
            kv_heads=size.kv_heads,
            intermediate_size=size.intermediate,
            max_positions=size.prompt + 2 * size.response,
        )

    @property
    def heads(self) -> HeadShape | None:
        return HeadShape("mlp", "last", 3) if "MLP" in self.trainer else None

    def model(self, folder: Path, name: str) -> ModelConfig:
        return ModelConfig(path=str(folder / name), gradient_checkpointing=self.gradient_checkpointing)

    def shared(self) -> dict[str, Any]:
        """Settings that every trainer has."""
        return {
            "optimizer": OptimizerConfig(lr=1e-5),
            "precision": PrecisionConfig(compute="bfloat16" if self.bf16 else "float32"),
            "data": DataConfig(max_prompt_tokens=self.size.prompt, max_response_tokens=self.size.response),
            "sharding": ShardingConfig(model=self.sharding),
            "batch_size": ROWS,
            "micro_batch_size": MICRO_BATCH,
        }

    def lay_out(self, **models: nn.Module) -> None:
        """By role, over the ranks."""
        lay_out(models, self.shared()["sharding"], CPU, self.ranks.size)

    def lora(self) -> LoraConfig:
        few = "few" in self.trainer
        return msgspec.structs.replace(LORA, targets=TARGETS[self.family]) if few else LORA


def words(count: int, row: int) -> list[int]:
    return [3 + (row + 7 * i) % 1000 for i in range(count)]


def prompt_tokens(size: Size) -> list[list[int]]:
    """The first of each micro-batch is shorter, so that masks are needed."""
    return [words(size.prompt - 4 * (row % MICRO_BATCH == 0), row) for row in range(ROWS)]


def optimizer_of(parameters: Any, case: Case) -> ScheduledAdamW:
    settings = case.shared()["optimizer"]
    return ScheduledAdamW(parameters, settings, 8, case.ranks, partitioned=case.sharding == "zero-1")
