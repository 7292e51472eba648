"""The trainer of `rlhf run eval`: what is evaluated is known only when the config is."""

from __future__ import annotations

from pathlib import Path

from rlhf_plugins.eval.readiness import ReadinessTrainer
from rlhf_plugins.eval.trainer import EvalTrainer
from rlhf_plugins.torch_runtime import TorchRuntime
from rlhf_sdk.trainer import Metrics, Run

TRAINERS: dict[str, type[EvalTrainer] | type[ReadinessTrainer]] = {
    "policies": EvalTrainer,
    "reward_model": ReadinessTrainer,
}


class ChosenEvaluation:
    """Hands everything to the trainer that `eval.what` names."""

    def __init__(self) -> None:
        self.runtime = TorchRuntime()
        self.total_steps = 0

    def setup(self, run: Run) -> None:
        self.chosen = TRAINERS[run.config.what]()
        self.chosen.setup(run)
        self.total_steps = self.chosen.total_steps

    def step(self) -> Metrics | None:
        return self.chosen.step()

    def save(self, directory: Path) -> None:
        self.chosen.save(directory)

    def load(self, directory: Path) -> None:
        self.chosen.load(directory)

    def finish(self) -> None:
        self.chosen.finish()
