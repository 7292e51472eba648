"""What every trainer on the engine shares: errors, device, tokenizer, checkpoints of models and optimizers."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from rlhf_engine.backoff import BackOff
from rlhf_engine.checks.live import LiveLights
from rlhf_engine.checks.rules import Light, Rule, judge
from rlhf_engine.checks.supervised import FINITE_GRADIENTS, GRADIENT_RULES
from rlhf_engine.config import DataConfig, OptimizerConfig
from rlhf_engine.data.api import raw_texts
from rlhf_engine.data.tokenizers import load_tokenizer
from rlhf_engine.errors import ConfigError, DataError, NonFiniteError
from rlhf_engine.memory_budget import memory_budget
from rlhf_engine.memory_table import memory_table, tensors_in
from rlhf_engine.models import check_precision, check_release_cache, choose_determinism, choose_device
from rlhf_engine.optim import ScheduledAdamW
from rlhf_engine.ranks import Ranks
from rlhf_engine.sharding.choice import check_sharding, layout_of, layouts_in_words
from rlhf_engine.sharding.roles import lay_out, loading_device
from rlhf_engine.sharding.state import is_sharded
from rlhf_plugins.sharded.trained import Trained
from rlhf_plugins.torch_runtime import TorchRuntime
from rlhf_sdk.events import MemoryRow
from rlhf_sdk.trainer import DivergedError, Metrics, Run, UserError

GIB = 1 << 30


@contextmanager
def translated_errors() -> Iterator[None]:
    """The engine's errors as the contract's: a user's mistake and a divergence have exit codes of their own."""
    try:
        yield
    except (ConfigError, DataError) as error:
        raise UserError(str(error)) from error
    except NonFiniteError as error:
        raise DivergedError(str(error)) from error


class EngineTrainer:
    """Base of the built-in trainers. A subclass fills in `prepare` and `update`.

    A metric called `NAME|rate` is an amount, and reported as `NAME` per second of the step.
    """

    roles: ClassVar[tuple[str, ...]] = ()
    """The models of a run, by the names that `sharding` has for them; none where all are whole."""

    run: Run
    config: Any
    state: Any
    device: torch.device
    tokenizer: PreTrainedTokenizerBase

    def __init__(self) -> None:
        self.runtime = TorchRuntime()
        self.total_steps = 0
        self.steps_done = 0
        self.models: dict[str, Any] = {}
        self.parts: dict[str, dict[str, nn.Parameter]] = {}
        self.optimizers: dict[str, ScheduledAdamW] = {}
        self._optimizer_steps: dict[str, int] = {}

    def prepare(self) -> None:
        """Loads data and models, and sets `total_steps`, `models`, `optimizers`, and `parts`: what else is trained."""
        raise NotImplementedError

    def update(self) -> dict[str, float]:
        """One update; returns its metrics."""
        raise NotImplementedError

    def light_rules(self) -> Sequence[Rule]:
        """The sanity lights of this trainer."""
        return GRADIENT_RULES

    def light_figures(self, metrics: Mapping[str, float]) -> Mapping[str, float]:
        """What the lights judge after an update: its metrics, and what a subclass adds."""
        return metrics

    @property
    def ranks(self) -> Ranks:
        """The processes that train together, this one among them."""
        return self.runtime.ranks

    @property
    def loading_device(self) -> torch.device:
        """Where models are loaded, before `lay_out`."""
        return loading_device(self.config.sharding, self.roles, self.device)

    def lay_out(self, **models: nn.Module) -> None:
        """Shards the models of these roles over the ranks, as configured; their parameters are new objects then."""
        lay_out(models, self.config.sharding, self.device, self.ranks.size)

    @property
    def backoff(self) -> BackOff:
        """How many rows at a time fit, where the configured number didn't."""
        backoff: BackOff = self.state.backoff
        return backoff

    def setup(self, run: Run) -> None:
        self.run, self.config = run, run.config
        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
        if self.config.threads:
            torch.set_num_threads(self.config.threads)
        choose_determinism(self.config.deterministic)
        with translated_errors():
            check_precision(self.config.precision)
            self.device = choose_device(self.config.device)
            check_release_cache(self.config.release_cache, self.device)
            self.runtime.use(self.device, self.config.release_cache)
            if self.roles:
                check_sharding(
                    self.config.sharding,
                    self.roles,
                    ranks=self.ranks.size,
                    device=self.device.type,
                    compute=self.config.precision.compute,
                )
                self.runtime.sharding = layouts_in_words(self.config.sharding, self.roles)
            self.prepare()
        if any(is_sharded(model) for model in self.roles_of_state().values()):
            self.backoff.leave_word(self.run.directory / "rows_at_a_time.json")
        self.lights = LiveLights(self.light_rules(), self.total_steps)

    def step(self) -> Metrics | None:
        if self.steps_done >= self.total_steps:
            return None
        started = time.perf_counter()
        self._optimizer_steps = self.optimizer_steps()
        with self.guarded(), self.non_finite_shown():
            metrics = self.update()
        self.steps_done += 1
        self._optimizer_steps = self.optimizer_steps()
        seconds = time.perf_counter() - started
        self.show(self.lights.observe(self.light_figures(metrics), self.steps_done))
        return {
            name.removesuffix("|rate"): value / seconds if name.endswith("|rate") else value
            for name, value in metrics.items()
        }

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """For `step` and `finish`: the engine's errors translated, memory within its budget."""
        budget = memory_budget(round(self.config.memory_budget_gib * GIB), self.device)
        with translated_errors(), budget:
            yield

    def optimizer_steps(self) -> dict[str, int]:
        return {name: optimizer.steps_done for name, optimizer in self.optimizers.items()}

    def can_leave(self) -> bool:
        """Until the optimizer's step nothing has changed, so the update would be done again."""
        return self.optimizer_steps() == self._optimizer_steps

    def reconfigure(self, config: Any) -> None:
        """Takes over live values."""
        self.config = config
        for name, optimizer in self.optimizers.items():
            optimizer.config = self.optimizer_config(name)

    def optimizer_config(self, name: str) -> OptimizerConfig:
        """Of the optimizer called `name`."""
        config: OptimizerConfig = self.config.optimizer
        return config

    def new_optimizer(
        self, parameters: Iterable[tuple[str, nn.Parameter]], steps: int, name: str = "model"
    ) -> ScheduledAdamW:
        """The optimizer called `name`, for `steps` steps that all ranks take together."""
        partitioned = bool(self.roles) and layout_of(self.config.sharding, name) == "zero-1"
        return ScheduledAdamW(parameters, self.optimizer_config(name), steps, self.ranks, partitioned=partitioned)

    def roles_of_state(self) -> dict[str, nn.Module]:
        """Every model that `state` holds, frozen ones too."""
        state: Mapping[str, Any] = vars(vars(self).get("state", object))
        parts = {**state, **vars(state.get("models", object))}
        return {name: part for name, part in parts.items() if isinstance(part, nn.Module)}

    def memory_table(self) -> list[MemoryRow]:
        """What each role of `state` keeps, and the experience of an update that is under way."""
        state: Mapping[str, Any] = vars(vars(self).get("state", object))
        roles = self.roles_of_state()
        experience = getattr(state.get("unfinished"), "experience", None)
        rows = memory_table(roles, self.optimizers.values(), tensors_in(experience) if experience is not None else ())
        return [MemoryRow(role=row.role, kind=row.kind, bytes=row.bytes) for row in rows]

    def show(self, lights: Sequence[Light]) -> None:
        """Tells the run about lights."""
        for light in lights:
            self.run.check(light.name, light.state, light.figure, light.tolerance, light.explanation)

    @contextmanager
    def non_finite_shown(self) -> Iterator[None]:
        """A loss or gradient that is not finite turns its light before it ends the run."""
        try:
            yield
        except NonFiniteError:
            self.show([judge(FINITE_GRADIENTS, math.nan)])
            raise

    @property
    def trained(self) -> Trained:
        return Trained(self.models, self.parts, self.optimizers)

    def save_shards(self, directory: Path) -> None:
        """What no rank has whole."""
        self.trained.save_shards(directory, self.ranks)

    def save(self, directory: Path) -> None:
        """Ranks that follow have the same as the first, but for their shards: there is nothing to add."""
        if self.ranks.rank == 0:
            self.write_checkpoint(directory)

    def write_checkpoint(self, directory: Path) -> None:
        """The checkpoint's files, but for shards."""
        self.trained.save_whole(directory, self.tokenizer)
        state = {
            "steps_done": self.steps_done,
            "optimizer_steps": self.optimizer_steps(),
            "lights": self.lights.remembered(),
            "rows_at_a_time": self.backoff.sizes,
        }
        (directory / "trainer.json").write_text(json.dumps(state))

    def load(self, directory: Path) -> None:
        state = json.loads((directory / "trainer.json").read_text())
        self.steps_done = state["steps_done"]
        self.lights.recall(state["lights"])
        self.backoff.sizes = state.get("rows_at_a_time", {}) | self.backoff.sizes
        self.trained.load(directory, state["optimizer_steps"])
        self._optimizer_steps = self.optimizer_steps()

    def load_tokenizer(self, *training_data: DataConfig) -> PreTrainedTokenizerBase:
        """The configured tokenizer, trained on `training_data` where there is none."""

        def texts() -> Iterator[str]:
            for data in training_data:
                yield from raw_texts(data, self.run)

        return load_tokenizer(self.config.tokenizer, self.config.model.path, texts)

    def keep_skipped(self, examples: Any, name: str) -> Any:
        """Notes what was left out of `examples`, lists it in the run's `data/NAME.skipped.jsonl`, and returns them."""
        self.run.note(f"{name}: {examples.report.summary()}")
        if examples.report.skipped:
            folder = self.run.directory / "data"
            folder.mkdir(mode=0o700, exist_ok=True)
            examples.report.write_skipped(folder / f"{name}.skipped.jsonl")
        return examples
