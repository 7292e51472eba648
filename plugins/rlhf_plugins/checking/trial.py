"""One small update of a config's own trainer, outside any run."""

from __future__ import annotations

import math
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from rlhf_engine.config import CriticFreeConfig, DataConfig, OnlineConfig, PreferenceConfig, PretrainConfig, RMConfig
from rlhf_engine.data.examples import Demonstration
from rlhf_engine.data.formatting import response_tokens
from rlhf_engine.order import steps_in
from rlhf_plugins.comparison_trainer import WORLD, ComparisonTrainer
from rlhf_plugins.engine_trainer import EngineTrainer
from rlhf_plugins.online_trainer import OnlineTrainer
from rlhf_plugins.sft.trainer import SFTTrainer
from rlhf_sdk.discovery import load_attribute, load_spec
from rlhf_sdk.trainer import Metrics

ROWS = 256
COMPARED_POSTS = 48
BATCH = 32


class TrialRun:
    """What a trainer speaks to while it is tried; nothing is kept."""

    def __init__(self, config: Any, directory: Path) -> None:
        self.config, self.seed, self.directory, self.step = config, config.seed, directory, 0
        directory.mkdir(mode=0o700)

    def safe_point(self) -> None:
        return None

    def token_point(self) -> None:
        return None

    def phase(self, name: str) -> AbstractContextManager[None]:
        return nullcontext()

    def progress(self, what: str, done: int, total: int | None = None) -> None:
        return None

    def sample(self, **fields: Any) -> None:
        return None

    def alert(self, severity: str, code: str, message: str, advice: str = "", **more: Any) -> None:
        return None

    def check(self, name: str, status: str, figure: float, tolerance: float, explanation: str = "") -> None:
        return None

    def note(self, text: str) -> None:
        return None

    def out_of_memory(self, error: Exception, *, what: str, rows: int, smaller: int | None) -> None:
        return None

    def result(self, name: str, data: dict[str, Any]) -> None:
        return None

    def child(self, stage: str, run_id: str, state: str) -> None:
        return None


@dataclass
class Trial:
    """A trainer with data and models loaded, on fewer rows and a smaller batch; everything else as configured."""

    trainer: EngineTrainer
    setup_seconds: float
    update_seconds: float = 0.0

    @classmethod
    def prepared(cls, plugin: str, config: Any, directory: Path) -> Trial:
        """Raises `UserError` where the trainer could not begin."""
        started = time.perf_counter()
        trainer: EngineTrainer = load_attribute(load_spec(plugin).trainer)()
        trainer.runtime.start(config.seed)
        trainer.setup(TrialRun(reduced(config), directory))
        return cls(trainer, time.perf_counter() - started)

    def update(self) -> Metrics:
        """One update, timed."""
        started = time.perf_counter()
        metrics = self.trainer.step()
        self.update_seconds = time.perf_counter() - started
        return metrics or {}

    def examples(self, count: int = ROWS) -> list[Demonstration]:
        """Prompts with a response that the data itself has; none where it has none."""
        trainer = self.trainer
        if isinstance(trainer, SFTTrainer):
            return [trainer.demonstrations[i] for i in range(min(count, len(trainer.demonstrations)))]
        if isinstance(trainer, ComparisonTrainer):
            groups = [trainer.groups[i] for i in range(min(count, len(trainer.groups)))]
            return [Demonstration(g.prompt, g.responses[0], g.response_tokens[0]) for g in groups]
        return _references(trainer, count) if isinstance(trainer, OnlineTrainer) else []

    def run_seconds(self, config: Any) -> float | None:
        """A whole run of `config` at the pace of the small update; None where its number of steps is not known."""
        steps = _total_steps(config)
        share = config.batch_size / self.trainer.config.batch_size
        return None if steps is None else self.setup_seconds + steps * self.update_seconds * share


def _references(trainer: OnlineTrainer, count: int) -> list[Demonstration]:
    prompts = [trainer.prompts[i] for i in range(min(count, len(trainer.prompts)))]
    limit = trainer.config.data.max_response_tokens
    return [
        Demonstration(prompt, prompt.reference, response_tokens(prompt.reference, trainer.tokenizer, limit))
        for prompt in prompts
        if prompt.reference
    ]


def reduced(config: Any) -> Any:
    """`config` on few rows and a small batch, without held-out data."""
    batch = _small_batch(config)
    labelled = isinstance(config, RMConfig | PreferenceConfig) and WORLD in config.data.source
    rows = max(COMPARED_POSTS if labelled else ROWS, batch)
    changes: dict[str, Any] = {"batch_size": batch, "data": _fewer(config.data, rows)}
    if hasattr(config, "eval_data"):
        changes["eval_data"] = msgspec.structs.replace(config.eval_data, source=[])
    if isinstance(config, OnlineConfig):
        changes["total_episodes"] = batch
    return msgspec.structs.replace(config, **changes)


def _fewer(data: DataConfig, rows: int) -> DataConfig:
    fewer: DataConfig = msgspec.structs.replace(data, max_rows=min(data.max_rows or rows, rows))
    return fewer


def _small_batch(config: Any) -> int:
    """At most about BATCH rows that can be cut as the config asks."""
    if not isinstance(config, OnlineConfig):
        size: int = min(config.batch_size, BATCH)
        return size
    samples = config.samples_per_prompt if isinstance(config, CriticFreeConfig) else 1
    piece = math.lcm(config.minibatches, samples)
    rows: int = min(config.batch_size, -(-BATCH // piece) * piece)
    return rows


def _total_steps(config: Any) -> int | None:
    if isinstance(config, OnlineConfig):
        return max(config.total_episodes // config.batch_size, 1)
    if config.max_steps or not config.data.max_rows or isinstance(config, PretrainConfig):
        return config.max_steps or None
    return steps_in(config.data.max_rows, config.batch_size, config.epochs)
