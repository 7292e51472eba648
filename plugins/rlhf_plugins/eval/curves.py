"""Reads what a PPO run measured at each update, from its events."""

from __future__ import annotations

from pathlib import Path

from rlhf_engine.errors import DataError
from rlhf_engine.eval.overoptimisation import Curve, overoptimisation
from rlhf_sdk.events import MetricsLogged
from rlhf_sdk.run_dir import RunDir

PROXY, GOLD, KL = "reward/score_mean", "gold/score_mean", "kl/sequence_nats"


def read_curve(name: str, model: str) -> Curve:
    """The curve of the run that saved `model` (RUN/checkpoints/STEP/model). Raises DataError if it has none."""
    run = RunDir(Path(model).absolute().parent.parent.parent)
    steps: dict[int, dict[str, float]] = {}
    for event in run.events():
        if isinstance(event, MetricsLogged):
            # A resumed run does its last steps again: what it measured then stands.
            steps[event.step] = event.values
    updates = sorted(step for step, values in steps.items() if PROXY in values and KL in values)
    if not updates:
        raise DataError(f"curves.{name}: {model!r} is not the model of a PPO run with events of {PROXY} and {KL}")
    golds = [steps[update][GOLD] for update in updates if GOLD in steps[update]]
    return overoptimisation(
        updates,
        [steps[update][PROXY] for update in updates],
        golds if len(golds) == len(updates) else [],
        [steps[update][KL] for update in updates],
    )
