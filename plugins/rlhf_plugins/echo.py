"""The smallest trainer: no torch, and figures that depend on seed and step alone. Start your own from it."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from rlhf_sdk.spec import Panel, PluginSpec
from rlhf_sdk.trainer import Metrics, Run, SampledResponse

LIVE = {"live": True}
"""These may be changed while the run lives."""


class EchoConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Says the same thing again."""

    text: Annotated[str, Meta(min_length=1, description="what to say", extra=LIVE)] = "hello"
    steps: Annotated[int, Meta(ge=1, description="how often")] = 10
    delay_seconds: Annotated[float, Meta(ge=0, description="how long a step takes", extra=LIVE)] = 0.0
    weight: Annotated[float, Meta(ge=0, le=10, description="what a score is multiplied by", extra=LIVE)] = 1.0
    model: Annotated[str, Meta(description="directory or run:ID of an earlier echo, whose sum is the start")] = ""
    seed: Annotated[int, Meta(ge=0, description="seed of everything random")] = 0
    checkpoint_every: Annotated[
        int, Meta(ge=0, description="checkpoint every so many steps; 0: at the end", extra=LIVE)
    ] = 0
    keep_checkpoints: Annotated[int, Meta(ge=1, description="how many of the newest are kept", extra=LIVE)] = 2
    keep_every: Annotated[int, Meta(ge=0, description="those of every so many steps too; 0: none", extra=LIVE)] = 0
    keep_best: Annotated[str, Meta(description="the best by this metric too; empty: none", extra=LIVE)] = ""
    best_is: Annotated[Literal["highest", "lowest"], Meta(description="which value is the best", extra=LIVE)] = (
        "highest"
    )


class EchoTrainer:
    """Adds up one random number a step."""

    runtime = None
    total_steps = 0

    def setup(self, run: Run) -> None:
        self.run, self.config, self.total_steps = run, run.config, run.config.steps
        self.steps_done, self.sum = 0, 0.0
        if run.config.model:
            self.sum = json.loads((Path(run.config.model) / "echo.json").read_text())["sum"]

    def step(self) -> Metrics | None:
        if self.steps_done == self.total_steps:
            return None
        with self.run.phase("echo"):
            until = time.monotonic() + self.config.delay_seconds
            while time.monotonic() < until:
                self.run.safe_point()
                time.sleep(0.01)
        score = self.config.weight * random.Random(f"{self.run.seed}/{self.steps_done}").random()
        self.steps_done, self.sum = self.steps_done + 1, self.sum + score
        self.run.sample(
            tag="echo", index=0, prompt=self.config.text, response=self.config.text, metrics={"score": score}
        )
        return {"echo/score": score, "echo/sum": self.sum}

    def sample(self, prompts: list[str]) -> list[SampledResponse]:
        return [SampledResponse(prompt=prompt, response=prompt) for prompt in prompts or [self.config.text]]

    def reconfigure(self, config: EchoConfig) -> None:
        self.config = config

    def can_leave(self) -> bool:
        """Nothing changes before a step is over."""
        return True

    def save(self, directory: Path) -> None:
        (directory / "model").mkdir()
        (directory / "model" / "echo.json").write_text(json.dumps({"steps_done": self.steps_done, "sum": self.sum}))

    def load(self, directory: Path) -> None:
        state = json.loads((directory / "model" / "echo.json").read_text())
        self.steps_done, self.sum = state["steps_done"], state["sum"]


plugin = PluginSpec(
    name="echo",
    summary="Says the same thing again: a trainer to learn from, and to test with",
    config=EchoConfig,
    trainer="rlhf_plugins.echo:EchoTrainer",
    panels=[Panel("Score", ["echo/score"]), Panel("Sum", ["echo/sum"])],
    headline=["echo/score", "echo/sum"],
)
