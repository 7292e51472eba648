"""TRL's PPO on models of ours, looked at inside its loop: where advantages are whitened, and where losses are known."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from datasets import Dataset
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    DataCollatorWithPadding,
    PreTrainedTokenizerBase,
)
from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer

from rlhf_engine.scalar_models import ScalarModel

Locals = Mapping[str, Any]


@dataclass(frozen=True)
class PeerSettings:
    """The settings that both sides have; `missing_eos_penalty` is taken off the score."""

    batch_size: int
    minibatches: int
    ppo_epochs: int
    total_episodes: int
    response_tokens: int
    temperature: float
    kl_coef: float
    vf_coef: float
    clip_range: float
    gamma: float
    gae_lambda: float
    missing_eos_penalty: float
    policy_lr: float
    value_lr: float
    final_lr_share: float
    seed: int


def make_trainer(
    settings: PeerSettings,
    prompts: Sequence[list[int]],
    tokenizer: PreTrainedTokenizerBase,
    *,
    policy: Path,
    reward_model: Path,
    output: Path,
) -> PPOTrainer:
    """TRL's trainer on the SFT policy and reward model in these directories, with Adam and learning rates as ours."""
    models = {
        "model": AutoModelForCausalLM.from_pretrained(policy),
        "ref_model": AutoModelForCausalLM.from_pretrained(policy),
        "reward_model": plain_scalar_network(reward_model),
        "value_model": plain_scalar_network(reward_model),
    }
    return PPOTrainer(
        args=trl_config(settings, output),
        processing_class=tokenizer,
        train_dataset=Dataset.from_dict({"input_ids": list(prompts)}),
        eval_dataset=Dataset.from_dict({"input_ids": list(prompts[:1])}),
        data_collator=DataCollatorWithPadding(tokenizer),
        optimizers=adam(models["model"], models["value_model"], settings),
        **models,
    )


def trl_config(settings: PeerSettings, output: Path) -> PPOConfig:
    return PPOConfig(
        output_dir=str(output),
        per_device_train_batch_size=settings.batch_size,
        gradient_accumulation_steps=1,
        num_mini_batches=settings.minibatches,
        num_ppo_epochs=settings.ppo_epochs,
        total_episodes=settings.total_episodes,
        local_rollout_forward_batch_size=settings.batch_size,
        response_length=settings.response_tokens,
        temperature=settings.temperature,
        kl_coef=settings.kl_coef,
        vf_coef=settings.vf_coef,
        cliprange=settings.clip_range,
        cliprange_value=settings.clip_range,
        gamma=settings.gamma,
        lam=settings.gae_lambda,
        missing_eos_penalty=settings.missing_eos_penalty,
        stop_token="eos",
        num_sample_generations=0,
        seed=settings.seed,
        report_to="none",
        use_cpu=not torch.cuda.is_available(),
        save_strategy="no",
        disable_tqdm=True,
    )


def adam(policy: nn.Module, value_model: nn.Module, settings: PeerSettings) -> tuple[Any, Any]:
    """Adam with two learning rates that fall linearly, as the demo's recipe has it."""
    optimizer = torch.optim.AdamW(
        [
            {"params": list(policy.parameters()), "lr": settings.policy_lr},
            {"params": list(value_model.parameters()), "lr": settings.value_lr},
        ],
        eps=1e-5,
        weight_decay=0.0,
    )
    updates = math.ceil(settings.total_episodes / settings.batch_size)
    fall = 1.0 - settings.final_lr_share
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda update: 1.0 - fall * update / updates)


def plain_scalar_network(directory: Path) -> Any:
    """Our reward model as plain transformers has it; the normalisation moves into a head with a bias."""
    network: Any = AutoModelForSequenceClassification.from_pretrained(directory, num_labels=1)
    gain, bias = ScalarModel(network).affine
    head = nn.Linear(network.score.in_features, 1)
    with torch.no_grad():
        head.weight.copy_(network.score.weight * gain)
        head.bias.fill_(bias)
    network.score = head
    return network


def as_ours(network: Any) -> ScalarModel:
    """A network of `plain_scalar_network` under our head, which normalises no more."""
    model = ScalarModel(network)
    model.set_affine(1.0, 0.0)
    return model


@contextmanager
def watched(on_rollout: Callable[[Locals, Tensor, Tensor], None], on_loss: Callable[[Locals], None]) -> Iterator[None]:
    """Calls back from inside TRL's loop, with the loop's own variables.

    `on_rollout` gets them where advantages are whitened, with the advantages before and after; `on_loss` once for each
    minibatch, as soon as its losses are known.
    """
    whiten, mean = ppo_trainer.masked_whiten, ppo_trainer.masked_mean

    def watched_whiten(values: Tensor, mask: Tensor, shift_mean: bool = True) -> Tensor:
        whitened: Tensor = whiten(values, mask, shift_mean)
        on_rollout(sys._getframe(1).f_locals, values, whitened)
        return whitened

    def watched_mean(values: Tensor, mask: Tensor, axis: Any = None) -> Tensor:
        found: Tensor = mean(values, mask, axis)
        variables = sys._getframe(1).f_locals
        if values is variables.get("pg_loss_max"):
            on_loss({**variables, "pg_loss": found})
        return found

    with mock.patch.multiple(ppo_trainer, masked_whiten=watched_whiten, masked_mean=watched_mean):
        yield
