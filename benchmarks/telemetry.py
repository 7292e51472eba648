"""What a worker's telemetry (phases, memory, events, samples, safe points) adds to a PPO update of the demo's sizes."""

from __future__ import annotations

import statistics
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import msgspec
import torch

from benchmarks.record import record
from rlhf_engine.config import PPOConfig, TokenizerConfig, TrainerConfig
from rlhf_engine.data.formatting import format_prompt
from rlhf_engine.data.tokenizers import load_tokenizer
from rlhf_engine.data.world import demonstrations
from rlhf_engine.hooks import NoHooks
from rlhf_engine.models import load_policy, save_model
from rlhf_engine.scalar_models import load_scalar_model
from rlhf_plugins.ppo.trainer import PPOTrainer
from rlhf_sdk.events import MetricsLogged
from rlhf_sdk.journal import Journal
from rlhf_sdk.memory_monitor import MemoryMonitor
from rlhf_sdk.phases import Phases
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.worker_control import Control
from rlhf_sdk.worker_run import WorkerRun

PROFILE = Path(__file__).parents[1] / "profiles" / "demo.toml"
PAIRS, WARM_UP = 40, 2
CPU = torch.device("cpu")
PARTS: dict[str, tuple[type, str]] = {
    "phases": (Phases, "_measure"),
    "events": (Journal, "event"),
    "samples": (Journal, "sample"),
    "memory table": (MemoryMonitor, "look"),
    "memory alerts": (MemoryMonitor, "after_step"),
    "safe points": (WorkerRun, "safe_point"),
    "progress": (WorkerRun, "progress"),
}
"""Where telemetry happens; what one does within another counts for the outer one."""


class SilentRun(NoHooks):
    """A run that keeps nothing."""

    def __init__(self, config: TrainerConfig, directory: Path) -> None:
        self.config, self.seed, self.directory, self.step = config, config.seed, directory, 0

    def sample(self, **said: object) -> None: ...
    def alert(self, *said: object, **more: object) -> None: ...
    def check(self, *said: object) -> None: ...
    def result(self, name: str, data: dict[str, Any]) -> None: ...
    def child(self, stage: str, run_id: str, state: str) -> None: ...


class Meter:
    """CPU seconds and calls of each part."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self.calls = dict.fromkeys(PARTS, 0)
        self._inside = False

    def metered(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def measured(*arguments: Any, **named: Any) -> Any:
            if self._inside:
                return function(*arguments, **named)
            self._inside, began = True, time.process_time()
            try:
                return function(*arguments, **named)
            finally:
                self._inside = False
                self.seconds[part] += time.process_time() - began
                self.calls[part] += 1

        return measured

    @contextmanager
    def watching(self) -> Iterator[None]:
        patches = [
            mock.patch.object(kind, name, self.metered(part, getattr(kind, name)))
            for part, (kind, name) in PARTS.items()
        ]
        for patch in patches:
            patch.start()
        try:
            yield
        finally:
            for patch in patches:
                patch.stop()


def demo_config(folder: Path) -> PPOConfig:
    """The demo's PPO, on models of its size with random weights."""
    profile = tomllib.loads(PROFILE.read_text())
    sft = profile["sft"]["model"]
    words = load_tokenizer(
        TokenizerConfig(train_vocab_size=1024, word_level_split=True),
        "",
        lambda: [f"{format_prompt(row, 'tldr')} {row['summary']}" for row in demonstrations(600, seed=0)],
    )
    config = msgspec.convert({"model": sft} | {"tokenizer": {"path": str(folder)}}, PPOConfig)
    torch.manual_seed(0)
    save_model(load_policy(config.model, words, CPU), words, folder / "policy")
    save_model(load_scalar_model(config.model, words, CPU), words, folder / "reward_model")
    values = profile["ppo"] | {
        "model": {"path": str(folder / "policy")},
        "reward_model": {"path": str(folder / "reward_model")},
        "total_episodes": (PAIRS + WARM_UP) * profile["ppo"]["batch_size"],
        "threads": 1,
    }
    return msgspec.convert(values, PPOConfig)


def observed_step(config: PPOConfig, directory: RunDir) -> Callable[[], float]:
    """A step as the worker does it, with everything that it records; returns its CPU seconds."""
    directory.commands.mkdir(parents=True)
    trainer = PPOTrainer()
    journal = Journal(directory.events_file, directory.samples_file, attempt=1)
    control = Control(directory.commands, journal.event, since=time.time())
    run = WorkerRun(
        directory, config=config, seed=config.seed, runtime=trainer.runtime, journal=journal, control=control
    )
    trainer.setup(run)
    run.memory.table_of = trainer.memory_table

    def step() -> float:
        began = time.process_time()
        run.safe_point()
        values = dict(trainer.step() or {})
        journal.step += 1
        run.emit(MetricsLogged(values=values, seconds=0.0))
        run.memory.after_step(trainer.total_steps - journal.step)
        return time.process_time() - began

    return step


def silent_step(config: PPOConfig, folder: Path) -> Callable[[], float]:
    trainer = PPOTrainer()
    trainer.setup(SilentRun(config, folder))

    def step() -> float:
        began = time.process_time()
        trainer.step()
        return time.process_time() - began

    return step


def measure(folder: Path) -> dict[str, Any]:
    """Pairs of the same update, with telemetry and without, in turns: A B, B A, ..."""
    config, meter = demo_config(folder), Meter()
    with_it = observed_step(config, RunDir(folder / "run"))
    without = silent_step(config, folder)
    pairs = []
    for number in range(WARM_UP + PAIRS):
        first = without() if number % 2 else None
        with meter.watching():
            observed = with_it()
        silent = without() if first is None else first
        if number < WARM_UP:
            meter = Meter()
            continue
        pairs.append((observed, silent))
        print(f"pair {len(pairs)}: {observed:.3f} s with, {silent:.3f} s without")
    return figures(pairs, meter)


def figures(pairs: list[tuple[float, float]], meter: Meter) -> dict[str, Any]:
    """The direct account is exact; the ratio of the pairs has the machine's noise in it."""
    ratios = sorted(observed / silent for observed, silent in pairs)
    total = sum(observed for observed, _ in pairs)
    return {
        "what": "CPU seconds of PPO updates of the demo's sizes, one thread, with and without telemetry in turns",
        "pairs": [{"with": observed, "without": silent} for observed, silent in pairs],
        "median ratio": statistics.median(ratios),
        "middle half of the ratios": [ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]],
        "share spent in telemetry": sum(meter.seconds.values()) / total,
        "share by part": {part: seconds / total for part, seconds in meter.seconds.items()},
        "calls per update": {part: calls / len(pairs) for part, calls in meter.calls.items()},
    }


def main() -> None:
    with TemporaryDirectory() as folder:
        found = measure(Path(folder))
    print(f"in telemetry: {100 * found['share spent in telemetry']:.2f} %; ratio {found['median ratio']:.4f}")
    record("telemetry", found)
