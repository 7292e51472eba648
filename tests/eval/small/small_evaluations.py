"""Whole evaluations with tiny models from scratch in the built-in world, in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from rlhf_engine.config import DataConfig, EvalConfig
from rlhf_engine.data.formatting import format_prompt
from rlhf_engine.data.world import demonstrations
from rlhf_plugins.eval.trainer import EvalTrainer

ROWS = 12


class FakeRun:
    """Remembers what it is told."""

    def __init__(self, config: EvalConfig, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self.config, self.directory, self.seed, self.step = config, directory, config.seed, 0
        self.samples: list[dict[str, Any]] = []
        self.results: dict[str, dict[str, Any]] = {}
        self.notes: list[str] = []
        self.alerts: list[str] = []

    def safe_point(self) -> None:
        return None

    def token_point(self) -> None:
        return None

    def phase(self, name: str) -> AbstractContextManager[None]:
        return nullcontext()

    def progress(self, what: str, done: int, total: int | None = None) -> None:
        return None

    def sample(self, **fields: Any) -> None:
        self.samples.append(fields)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def alert(self, severity: str, code: str, message: str, advice: str = "") -> None:
        self.alerts.append(message)

    def result(self, name: str, data: dict[str, Any]) -> None:
        self.results[name] = data


def world_data(seed: int, rows: int = ROWS) -> DataConfig:
    return DataConfig(source=["world"], world_seed=seed, max_rows=rows, max_prompt_tokens=200, max_response_tokens=24)


def world_texts() -> Iterator[str]:
    for record in demonstrations(200, seed=0):
        yield f"{format_prompt(record, 'tldr')} {record['summary']}"


def config_of(models: Path, **changes: Any) -> EvalConfig:
    settings: dict[str, Any] = {
        "policies": {"base": str(models / "first"), "twin": str(models / "first"), "other": str(models / "second")},
        "reward_model": str(models / "rm"),
        "data": world_data(7),
        "response_tokens": 12,
        "batch_size": 5,
        "bootstrap": 100,
        "device": "cpu",
    }
    return EvalConfig(**(settings | changes))


def evaluated(config: EvalConfig, directory: Path) -> tuple[EvalTrainer, FakeRun]:
    trainer, run = EvalTrainer(), FakeRun(config, directory / "run")
    trainer.setup(run)  # type: ignore[arg-type]
    while trainer.step() is not None:
        pass
    trainer.finish()
    return trainer, run
