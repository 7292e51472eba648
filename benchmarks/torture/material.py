"""A run in miniature of every built-in trainer, and the models that they start from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from transformers import PreTrainedModel

from benchmarks.torture.trial import Config
from rlhf_engine.config import InitConfig, ModelConfig, TokenizerConfig
from rlhf_engine.data.formatting import format_prompt
from rlhf_engine.data.tokenizers import load_tokenizer
from rlhf_engine.data.world import demonstrations
from rlhf_engine.models import load_policy, save_model
from rlhf_engine.scalar_models import ScalarModel, load_scalar_model

INIT = {"hidden_size": 16, "layers": 1, "heads": 2, "max_positions": 256, "initializer_range": 0.3}
OPTIMIZER = {"lr": 3e-2, "schedule": "linear", "warmup_share": 0.2, "max_grad_norm": 1.0}
COMMON = {"optimizer": OPTIMIZER, "device": "cpu", "seed": 3, "threads": 1, "checkpoint_every": 1}


def build_models(folder: Path) -> None:
    """A policy and a reward model with random weights below `folder`."""
    rows = list(demonstrations(60, seed=0))
    texts = [f"{format_prompt(row, 'tldr')} {row['summary']}" for row in rows]
    tokenizer = load_tokenizer(TokenizerConfig(train_vocab_size=400), "", lambda: texts)
    config = ModelConfig(init=InitConfig(**INIT))  # type: ignore[arg-type]
    loaders: dict[str, Callable[..., PreTrainedModel | ScalarModel]] = {
        "policy": load_policy,
        "reward_model": load_scalar_model,
    }
    for seed, (name, load) in enumerate(loaders.items()):
        torch.manual_seed(seed)
        save_model(load(config, tokenizer, torch.device("cpu")), tokenizer, folder / name)


def world(seed: int, rows: int) -> Config:
    """A section of data from the built-in world."""
    limits = {"max_prompt_tokens": 160, "max_response_tokens": 10}
    return {"source": ["world"], "world_seed": seed, "max_rows": rows} | limits


class Material:
    """The models below `folder`, and a config for each plugin: four steps or so, a checkpoint after each."""

    def __init__(self, folder: Path) -> None:
        self.policy, self.reward_model = str(folder / "policy"), str(folder / "reward_model")

    def config(self, plugin: str) -> Config:
        by_plugin: dict[str, Callable[[], Config]] = {
            "echo": lambda: {"steps": 5, "seed": 3, "checkpoint_every": 1},
            "pretrain": self._pretrain,
            "sft": self._sft,
            "rm": self._rm,
            "ppo": lambda: self._online() | {"gamma": 0.9, "whiten_rewards": True},
            "rloo": lambda: self._online() | {"samples_per_prompt": 2},
            "grpo": lambda: self._online() | {"samples_per_prompt": 2},
            "dpo": self._preferences,
            "ipo": self._preferences,
            "kto": self._preferences,
            "distil": self._distil,
            "eval": self._eval,
            "pipeline": self._pipeline,
        }
        return by_plugin[plugin]()

    def _from_scratch(self) -> Config:
        return COMMON | {"model": {"init": INIT}, "tokenizer": {"path": self.policy}}

    def _pretrain(self) -> Config:
        sizes = {"sequence_tokens": 16, "batch_size": 4, "micro_batch_size": 2, "max_steps": 4}
        plain = {"template": "plain"}
        return self._from_scratch() | {"data": world(1, 12) | plain, "eval_data": world(2, 2) | plain} | sizes

    def _sft(self) -> Config:
        sizes = {"batch_size": 4, "micro_batch_size": 2, "eval_every": 2, "sample_count": 1, "temperature": 1.0}
        return self._from_scratch() | {"data": world(1, 14), "eval_data": world(2, 2)} | sizes

    def _rm(self) -> Config:
        data = {"data": world(3, 6), "eval_data": world(4, 2), "norm_data": world(5, 12), "norm_rows": 8}
        sizes = {"batch_size": 2, "micro_batch_size": 1, "eval_every": 2, "score_norm": "affine_on_sft_samples"}
        return COMMON | {"model": {"path": self.policy}} | data | sizes

    def _online(self) -> Config:
        models = {"model": {"path": self.policy}, "reward_model": {"path": self.reward_model}}
        sizes = {"total_episodes": 16, "batch_size": 4, "ppo_epochs": 2, "minibatches": 2, "micro_batch_size": 1}
        rollout = {"rollout_batch_size": 2, "response_tokens": 6, "missing_eos": "subtract", "temperature": 1.0}
        samples = {"sample_every": 2, "sample_count": 1, "kl_control": "adaptive"}
        return COMMON | models | {"data": world(6, 16)} | sizes | rollout | samples

    def _preferences(self) -> Config:
        data = {"data": world(3, 6), "eval_data": world(4, 3)}
        sizes = {"batch_size": 2, "micro_batch_size": 1, "eval_every": 2, "kl_samples": 2, "sample_count": 1}
        return COMMON | {"model": {"path": self.policy}} | data | sizes

    def _distil(self) -> Config:
        models = {"teacher": {"path": self.policy}, "model": {"init": INIT}, "objective": "samples"}
        data = {"data": world(20, 12), "eval_data": world(21, 2), "response_tokens": 6}
        sizes = {"batch_size": 4, "micro_batch_size": 2, "rollout_batch_size": 4, "eval_every": 2, "sample_count": 1}
        return COMMON | models | data | sizes

    def _eval(self) -> Config:
        models = {"policies": {"base": self.policy, "other": self.policy}, "reward_model": self.reward_model}
        sizes = {"response_tokens": 6, "batch_size": 2, "best_of": [2], "bootstrap": 100, "temperatures": [1.0, 0.0]}
        comparisons = {"comparisons": world(8, 3), "train_comparisons": world(9, 4)}
        common = {"device": "cpu", "seed": 3, "threads": 1}
        return models | {"data": world(7, 3)} | comparisons | sizes | common

    def _pipeline(self) -> Config:
        first = {"plugin": "echo", "config": {"steps": 5, "delay_seconds": 0.02, "checkpoint_every": 1}}
        second = {"plugin": "echo", "config": {"steps": 3, "delay_seconds": 0.02, "model": "stage:first"}}
        return {"stages": {"first": first, "second": second}}
