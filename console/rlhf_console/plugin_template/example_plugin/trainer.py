"""The algorithm of example-plugin."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from statistics import fmean

from rlhf_sdk.trainer import DivergedError, Metrics, Run, SampledResponse

from . import Config

WORDS = ("yes", "please", "never", "maybe")


class Trainer:
    """A softmax over four words, moved by REINFORCE with the mean reward as baseline."""

    runtime = None  # no torch: nothing to seed, no device memory to measure
    total_steps = 0

    def setup(self, run: Run) -> None:
        self.run, self.total_steps = run, run.config.steps
        self.steps_done, self.logits = 0, [0.0] * len(WORDS)

    def step(self) -> Metrics | None:
        """One update; None when there is nothing left to do."""
        if self.steps_done == self.total_steps:
            return None
        with self.run.phase("rollout"):
            self.run.safe_point()  # where a pause, a stop or a checkpoint may come in
            chance = random.Random(f"{self.run.seed}/{self.steps_done}")
            drawn = chance.choices(range(len(WORDS)), self.probabilities(), k=self.run.config.batch_size)
            rewards = [float(WORDS[word] == self.run.config.rewarded) for word in drawn]
        with self.run.phase("update"):
            advantages = [reward - fmean(rewards) for reward in rewards]
            loss = self.update(drawn, advantages)
        figures = {"score": rewards[0], "advantage": advantages[0]}
        self.run.sample(tag="rollout", index=0, prompt="Say a word.", response=WORDS[drawn[0]], metrics=figures)
        self.steps_done += 1
        return {"reward/mean": fmean(rewards), "policy/entropy_nats": self.entropy(), "loss/policy": loss}

    def update(self, drawn: list[int], advantages: list[float]) -> float:
        """Moves the logits against the gradient of the loss, and returns the loss."""
        config: Config = self.run.config
        chances = self.probabilities()
        surprise = [advantage * math.log(chances[word]) for word, advantage in zip(drawn, advantages, strict=True)]
        loss = config.weight_decay / 2 * sum(x * x for x in self.logits) - fmean(surprise)
        if not math.isfinite(loss):
            raise DivergedError(f"the loss of update {self.steps_done + 1} is {loss}")
        for word, logit in enumerate(self.logits):
            pulls = [a * ((one == word) - chances[word]) for one, a in zip(drawn, advantages, strict=True)]
            self.logits[word] -= config.learning_rate * (config.weight_decay * logit - fmean(pulls))
        return loss

    def probabilities(self) -> list[float]:
        weights = [math.exp(logit - max(self.logits)) for logit in self.logits]
        return [weight / sum(weights) for weight in weights]

    def entropy(self) -> float:
        return -sum(chance * math.log(chance) for chance in self.probabilities() if chance > 0)

    def sample(self, prompts: list[str]) -> list[SampledResponse]:
        """What the policy writes when somebody asks: the likeliest word."""
        best = WORDS[self.logits.index(max(self.logits))]
        return [SampledResponse(prompt=prompt, response=best) for prompt in prompts or ["Say a word."]]

    def can_leave(self) -> bool:
        """At its safe points nothing of the step is done yet."""
        return True

    def save(self, directory: Path) -> None:
        (directory / "policy.json").write_text(json.dumps({"steps_done": self.steps_done, "logits": self.logits}))

    def load(self, directory: Path) -> None:
        state = json.loads((directory / "policy.json").read_text())
        self.steps_done, self.logits = state["steps_done"], state["logits"]
