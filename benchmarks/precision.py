"""What bf16 moves in a PPO update against fp32, with the same weights and responses, on small models."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any
from unittest import mock

import msgspec
import torch
from torch import Tensor
from transformers.utils import logging

from benchmarks.record import record
from benchmarks.tiny_models import CPU, tokenizer
from rlhf_engine.collecting import roll_out
from rlhf_engine.config import (
    Architecture,
    InitConfig,
    ModelConfig,
    OptimizerConfig,
    PPOConfig,
    Precision,
    PrecisionConfig,
)
from rlhf_engine.data.examples import Prompt
from rlhf_engine.experience import PPOExperience
from rlhf_engine.hooks import NoHooks
from rlhf_engine.kl_control import FixedKL
from rlhf_engine.models import load_policy
from rlhf_engine.optim import ScheduledAdamW
from rlhf_engine.ppo import PPOModels, PPOState, collect_experience, ppo_loss, ppo_update
from rlhf_engine.rollout import Rollout
from rlhf_engine.scalar_models import load_scalar_model
from rlhf_engine.update_metrics import UpdateStatistics

FAMILIES: dict[str, Architecture] = {"Llama": "llama", "GPT-NeoX": "gpt_neox", "GPT-2": "gpt2"}
VOCABULARY, ROWS = 64, 64
HOOKS = NoHooks()
CONFIG = PPOConfig(
    batch_size=ROWS, micro_batch_size=ROWS, rollout_batch_size=ROWS, response_tokens=24, ppo_epochs=4,
    missing_eos="subtract", optimizer=OptimizerConfig(lr=1e-3, schedule="constant"),
)  # fmt: skip
PROMPTS = [
    Prompt(str(row), "", [3 + (7 * row + i) % (VOCABULARY - 3) for i in range(4 + row % 12)]) for row in range(ROWS)
]


@dataclass(frozen=True)
class Difference:
    """Mean and largest |bf16 - fp32| of one figure, and the mean |fp32| that they are of."""

    mean: float
    largest: float
    size: float

    @classmethod
    def between(cls, exact: Tensor, rough: Tensor) -> Difference:
        error = (exact - rough).abs()
        return cls(float(error.mean()), float(error.max()), float(exact.abs().mean()))


def in_precision(compute: Precision) -> PPOConfig:
    return msgspec.structs.replace(CONFIG, precision=PrecisionConfig(compute=compute))


def new_state(architecture: Architecture) -> PPOState:
    torch.manual_seed(0)
    init = InitConfig(
        architecture=architecture, hidden_size=64, layers=4, heads=4, max_positions=64, initializer_range=0.1
    )
    scratch, words = ModelConfig(init=init), tokenizer(VOCABULARY)
    policy, value_model = load_policy(scratch, words, CPU), load_scalar_model(scratch, words, CPU)
    models = PPOModels(policy, copy.deepcopy(policy), value_model, copy.deepcopy(value_model))
    policy_optimizer = ScheduledAdamW(policy.named_parameters(), CONFIG.optimizer, 1)
    value_optimizer = ScheduledAdamW(value_model.named_parameters(), CONFIG.optimizer, 1)
    return PPOState(models, policy_optimizer, value_optimizer, FixedKL(CONFIG.kl_coef), eos_id=0, pad_id=1)


def experience_of(state: PPOState, rollout: Rollout, compute: Precision) -> PPOExperience:
    """As PPO collects it, but of these responses."""
    with mock.patch("rlhf_engine.ppo.roll_out", return_value=rollout):
        return collect_experience(state, PROMPTS, in_precision(compute), HOOKS)


def loss_and_gradients(state: PPOState, experience: PPOExperience, compute: Precision) -> list[Tensor]:
    """PPO's loss on all of `experience`, its gradient in the policy and that in the value model."""
    config = in_precision(compute)
    loss = ppo_loss(state.models, experience, experience, config, UpdateStatistics.of(config))
    loss.backward()
    optimizers = (state.policy_optimizer, state.value_optimizer)
    gradients = [torch.cat([p.grad.flatten() for p in one.parameters if p.grad is not None]) for one in optimizers]
    for one in optimizers:
        one.adamw.zero_grad()
    return [loss.detach(), *gradients]


def figures_of_collecting(experience: PPOExperience) -> dict[str, Tensor]:
    mask = experience.response_mask
    return {
        "log-probabilities, nats": experience.logprobs[mask],
        "values": experience.values[mask],
        "scores": experience.scores,
        "sequence KL, nats": experience.sequence_kl,
    }


def compare(architecture: Architecture) -> tuple[dict[str, Difference], dict[str, float]]:
    """Differences by figure, and the gradients' relative ones (norm of the difference / norm by fp32).

    The first update moves the policy off the reference; the second one moves it off the policy that sampled.
    """
    state = new_state(architecture)
    ppo_update(state, PROMPTS, CONFIG, HOOKS)
    rollout = roll_out(state, PROMPTS, CONFIG, HOOKS)
    exact, rough = (experience_of(state, rollout, compute) for compute in ("float32", "bfloat16"))
    ppo_update(state, PROMPTS, CONFIG, HOOKS)
    loss, *gradients = loss_and_gradients(state, exact, "float32")
    rough_loss, *rough_gradients = loss_and_gradients(state, rough, "bfloat16")
    figures, rough_figures = figures_of_collecting(exact), figures_of_collecting(rough)
    differences = {name: Difference.between(figures[name], rough_figures[name]) for name in figures}
    differences["PPO's loss"] = Difference.between(loss, rough_loss)
    pairs = zip(("policy", "value model"), gradients, rough_gradients, strict=True)
    return differences, {name: float((a - b).norm() / a.norm()) for name, a, b in pairs}


def table(found: dict[str, tuple[dict[str, Difference], dict[str, float]]]) -> list[str]:
    """Markdown: one row a figure, one column a family."""
    first, gradients = next(iter(found.values()))
    rows = [["mean, largest difference (mean size)", *found], ["---"] * (1 + len(found))]
    for name in first:
        cells = (differences[name] for differences, _ in found.values())
        rows.append([name, *(f"{cell.mean:.2g}, {cell.largest:.2g} ({cell.size:.2g})" for cell in cells)])
    for name in gradients:
        rows.append([f"gradient of the {name}, relative", *(f"{relative[name]:.1%}" for _, relative in found.values())])
    return [f"| {' | '.join(row)} |" for row in rows]


def main() -> None:
    logging.set_verbosity_error()
    found = {family: compare(architecture) for family, architecture in FAMILIES.items()}
    print("\n".join(table(found)))
    figures: dict[str, Any] = {
        family: {"differences": msgspec.to_builtins(differences), "relative gradient differences": relative}
        for family, (differences, relative) in found.items()
    }
    record("precision", {"bf16 against fp32": figures})
