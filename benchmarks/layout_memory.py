"""Bytes that PPO's layouts really hold in an update on a CPU, against the plan, on a small Llama."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch.profiler import ProfilerActivity, profile
from transformers import PreTrainedTokenizerFast
from transformers.utils import logging

from benchmarks.record import record
from rlhf_engine.adapters import add_adapter
from rlhf_engine.checkpoint import save_weights
from rlhf_engine.config import InitConfig, LoraConfig, ModelConfig, OptimizerConfig, PPOConfig
from rlhf_engine.data.examples import Prompt
from rlhf_engine.hooks import NoHooks
from rlhf_engine.kl_control import FixedKL
from rlhf_engine.layout_plan import plan_ppo
from rlhf_engine.layouts import load_ppo_models, own_parameters
from rlhf_engine.memory_rows import FRAMEWORK_BYTES
from rlhf_engine.models import load_policy
from rlhf_engine.optim import ScheduledAdamW
from rlhf_engine.ppo import PPOState, ppo_loss, ppo_update
from rlhf_engine.scalar_models import load_scalar_model
from rlhf_engine.update_metrics import UpdateStatistics

CPU = torch.device("cpu")
LORA = LoraConfig(rank=8, alpha=16.0)
VOCABULARY, PROMPT_TOKENS, RESPONSE_TOKENS = 4096, 64, 64
SIZES = InitConfig(hidden_size=192, layers=4, heads=4, intermediate_size=768, max_positions=128)
LAYOUTS = {"separate": False, "shared_trunk": False, "adapters": False, "adapters, rm.lora": True}
"""By name: whether the reward model is an adapter on the policy's backbone."""


@dataclass(frozen=True)
class Peak:
    """Bytes at the busiest moment of an update, what torch itself occupies left out."""

    planned: int
    measured: int


def tokenizer(vocabulary: int = VOCABULARY) -> PreTrainedTokenizerFast:
    words = {"<eos>": 0, "[PAD]": 1, "[UNK]": 2} | {f"w{i}": i + 3 for i in range(vocabulary - 3)}
    backend = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>", pad_token="[PAD]", unk_token="[UNK]")


def save_models(folder: Path) -> None:
    """A policy, a reward model of its size, and one that is an adapter on the policy."""
    torch.manual_seed(0)
    words, scratch = tokenizer(), ModelConfig(init=SIZES)
    save_weights(load_policy(scratch, words, CPU), words, folder / "policy")
    save_weights(load_scalar_model(scratch, words, CPU), words, folder / "reward_model")
    adapted = load_scalar_model(ModelConfig(path=str(folder / "policy")), words, CPU)
    add_adapter(adapted, LORA)
    save_weights(adapted, words, folder / "reward_adapter")


def config_of(name: str, folder: Path) -> PPOConfig:
    layout, _, _ = name.partition(",")
    config = PPOConfig(
        model=ModelConfig(path=str(folder / "policy")),
        reward_model=ModelConfig(path=str(folder / ("reward_adapter" if LAYOUTS[name] else "reward_model"))),
        lora=LORA if layout == "adapters" else None,
        optimizer=OptimizerConfig(lr=1e-4),
        batch_size=32,
        micro_batch_size=32,
        rollout_batch_size=32,
        ppo_epochs=1,
        response_tokens=RESPONSE_TOKENS,
    )
    limits = msgspec.structs.replace(config.data, max_prompt_tokens=PROMPT_TOKENS)
    return msgspec.convert(msgspec.to_builtins(config) | {"layout": layout, "data": limits}, PPOConfig)


def new_state(config: PPOConfig) -> PPOState:
    models = load_ppo_models(config, tokenizer(), CPU, NoHooks())
    critic = own_parameters(models.value_model, models.policy)
    policy_optimizer = ScheduledAdamW(models.policy.named_parameters(), config.optimizer, 4)
    value_optimizer = ScheduledAdamW(critic.items(), config.optimizer, 4)
    return PPOState(models, policy_optimizer, value_optimizer, FixedKL(config.kl_coef), eos_id=0, pad_id=1)


def peak_of(name: str, folder: Path) -> Peak:
    """Of the second micro-batch of the second update: weights, moments, gradients, and what is allocated on top."""
    config = config_of(name, folder)
    state = new_state(config)
    prompts = [Prompt(str(row), "", [3 + (row + i) % 1000 for i in range(PROMPT_TOKENS)]) for row in range(32)]
    experience, _ = ppo_update(state, prompts, config, NoHooks())

    def backward() -> None:
        ppo_loss(state.models, experience, experience, config, UpdateStatistics()).backward()

    backward()
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        backward()
    measured = held_bytes(state) + highest(allocations(profiler))
    planned = plan_ppo(config, reward_adapter=LORA if LAYOUTS[name] else None)[-1].bytes - FRAMEWORK_BYTES
    return Peak(planned, measured)


def held_bytes(state: PPOState) -> int:
    """Distinct weights, gradients and moments."""
    models = state.models
    roles = [models.policy, models.ref_policy, models.value_model, models.reward_model]
    weights = [parameter for role in roles for parameter in role.parameters()]
    gradients = [parameter.grad for parameter in weights if parameter.grad is not None]
    moments = [
        tensor
        for optimizer in (state.policy_optimizer, state.value_optimizer)
        for tensor in optimizer.state_tensors().values()
    ]
    storages = (tensor.untyped_storage() for tensor in [*weights, *gradients, *moments])
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def allocations(profiler: Any) -> list[int]:
    """Bytes allocated (above 0) and freed (below), in order."""
    events = profiler.profiler.kineto_results.events()
    memory = [event for event in events if event.name() == "[memory]"]
    return [event.nbytes() for event in sorted(memory, key=lambda event: event.start_ns())]


def highest(changes: Sequence[int]) -> int:
    """The highest sum of a beginning of `changes`."""
    total = top = 0
    for change in changes:
        total += change
        top = max(top, total)
    return top


@contextmanager
def saved_models() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        save_models(Path(folder))
        yield Path(folder)


def main() -> None:
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with saved_models() as folder:
        peaks = {name: peak_of(name, folder) for name in LAYOUTS}
    for name, peak in peaks.items():
        planned, measured = peak.planned / 2**20, peak.measured / 2**20
        print(f"{name:<18} planned {planned:7.1f} MiB, measured {measured:7.1f} MiB: {planned / measured - 1:+.1%}")
    record("layout-memory", {"bytes": {name: msgspec.to_builtins(peak) for name, peak in peaks.items()}})
