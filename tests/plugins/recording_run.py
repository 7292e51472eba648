"""A run that keeps what a trainer tells it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any


class RecordingRun:
    """A run that keeps what it is told."""

    def __init__(self, config: Any, directory: Path) -> None:
        self.config, self.directory, self.seed, self.step = config, directory, config.seed, 0
        self.checks: dict[str, str] = {}
        self.results: dict[str, dict[str, Any]] = {}
        self.samples: list[dict[str, Any]] = []
        self.notes: list[str] = []
        directory.mkdir(parents=True, exist_ok=True)

    def safe_point(self) -> None:
        return None

    def token_point(self) -> None:
        return None

    def phase(self, name: str) -> AbstractContextManager[None]:
        return nullcontext()

    def progress(self, what: str, done: int, total: int | None = None) -> None:
        return None

    def note(self, text: str) -> None:
        self.notes.append(text)

    def out_of_memory(self, error: Exception, *, what: str, rows: int, smaller: int | None) -> None:
        return None

    def alert(self, severity: str, code: str, message: str, advice: str = "", **more: Any) -> None:
        return None

    def child(self, stage: str, run_id: str, state: str) -> None:
        return None

    def sample(self, **fields: Any) -> None:
        self.samples.append(fields)

    def check(self, name: str, status: str, figure: float, tolerance: float, explanation: str = "") -> None:
        self.checks[name] = status

    def result(self, name: str, data: dict[str, Any]) -> None:
        self.results[name] = data
