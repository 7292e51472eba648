"""Whole PPO updates of small random models: CPU seconds, bytes, and what the formulas say of both."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from transformers.utils import logging

from benchmarks.memory_meter import counted_peak, live_bytes
from benchmarks.plan_accuracy import by_phase
from benchmarks.plan_cases import words
from benchmarks.record import record
from benchmarks.scale.axes import AXES, Point, points
from benchmarks.scale.slopes import slope
from benchmarks.tiny_models import CPU, POLICY, REWARD_MODEL, saved_models, tokenizer
from rlhf_engine.config import DataConfig, InitConfig, ModelConfig, OptimizerConfig, PPOConfig
from rlhf_engine.data.examples import Prompt
from rlhf_engine.hooks import NoHooks
from rlhf_engine.kl_control import FixedKL
from rlhf_engine.layout_plan import plan_ppo
from rlhf_engine.layouts import load_ppo_models, own_parameters
from rlhf_engine.optim import ScheduledAdamW
from rlhf_engine.ppo import PPOState, ppo_update
from rlhf_engine.time_floors import Rates, step_floors

MICRO_BATCH, HEAD_WIDTH, LAYERS, TRIES = 8, 32, 2, 3
OPERATIONS = Rates(flops=1.0, bandwidth=math.inf)
"""With these the least seconds are operations."""

Figures = dict[str, float]


def main() -> None:
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    axes = {axis: [measured(point) | {"at": value} for point, value in zip(points(axis), AXES[axis], strict=True)]
            for axis in AXES}  # fmt: skip
    table = {axis: growth(rows) for axis, rows in axes.items()}
    for axis, found in table.items():
        print(f"{axis:<12}" + "  ".join(f"{name} {value:.2f}" for name, value in found.items()))
    record("scale", {"tries": TRIES, "growth": table, "points": axes})


def growth(rows: list[Figures]) -> Figures:
    """Exponents over the whole axis, measured and by formula, and their half-widths."""
    at = [row["at"] for row in rows]
    found = Figures()
    for what, formula in (("cpu_seconds", "operations"), ("bytes", "planned_bytes")):
        measured_slope = slope(at, [row[what] for row in rows])
        found |= {f"{what}_exponent": measured_slope.exponent, f"{what}_half_width": measured_slope.half_width}
        found[f"{formula}_exponent"] = slope(at, [row[formula] for row in rows]).exponent
    return found


def measured(point: Point) -> Figures:
    """The median of some updates after a first one."""
    others = live_bytes()
    sizes = InitConfig(
        architecture="llama", hidden_size=point.hidden, layers=LAYERS, heads=point.hidden // HEAD_WIDTH,
        intermediate_size=4 * point.hidden, max_positions=point.prompt + point.response, tie_embeddings=False,
    )  # fmt: skip
    with saved_models(sizes, point.vocabulary) as folder:
        config = _config(point, folder)
        update, trained = _update(point, config)
        update()
        seconds = statistics.median(_cpu_seconds(update) for _ in range(TRIES))
        found = {"cpu_seconds": seconds, "bytes": float(counted_peak(update) - others)}
        found["operations"] = sum(step_floors(config, trained, OPERATIONS).values())
        found["planned_bytes"] = float(max(by_phase(plan_ppo(config)).values()))
    print(point, " ".join(f"{name} {value:.3g}" for name, value in found.items()), flush=True)
    return found


def _cpu_seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _config(point: Point, folder: Path) -> PPOConfig:
    return PPOConfig(
        model=ModelConfig(path=str(folder / POLICY)),
        reward_model=ModelConfig(path=str(folder / REWARD_MODEL)),
        data=DataConfig(max_prompt_tokens=point.prompt, max_response_tokens=point.response),
        optimizer=OptimizerConfig(lr=1e-5),
        batch_size=point.episodes,
        micro_batch_size=min(MICRO_BATCH, point.episodes),
        rollout_batch_size=point.episodes,
        response_tokens=point.response,
        ppo_epochs=1,
    )


def _update(point: Point, config: PPOConfig) -> tuple[Callable[[], object], int]:
    """One update on prompts of full length, whose responses never end early; and how many weights it trains."""
    models = load_ppo_models(config, tokenizer(point.vocabulary), CPU, NoHooks())
    policy, critic = dict(models.policy.named_parameters()), own_parameters(models.value_model, models.policy)
    of_policy, of_value = (ScheduledAdamW(named.items(), config.optimizer, 8) for named in (policy, critic))
    state = PPOState(models, of_policy, of_value, FixedKL(config.kl_coef), eos_id=-1, pad_id=1)
    prompts = [Prompt(str(row), "", words(point.prompt, row)) for row in range(point.episodes)]
    trained = sum(parameter.numel() for parameter in (*policy.values(), *critic.values()))
    return lambda: ppo_update(state, prompts, config, NoHooks()), trained
