"""Adapters, critics and reward models of ranks that share them out: what is saved, read again and exported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from engine_models import random_rollout, word_tokenizer
from processes import in_ranks
from rlhf_engine.adapters import add_adapter, merged_weights
from rlhf_engine.checkpoint import load_weights
from rlhf_engine.config import LoraConfig, ModelConfig, PPOShardingConfig
from rlhf_engine.ranks import Ranks
from rlhf_engine.scalar_models import load_scalar_model
from rlhf_engine.sft import SFTState, sft_update
from rlhf_engine.sharding.state import is_shard
from rlhf_plugins.sharded.trained import Trained
from rlhf_sdk.checkpoints import write_checkpoint
from rlhf_sdk.shards.assembling import ASSEMBLED, assembled
from small_ppo import CPU
from trained import HOOKS, Setting

Tensors = dict[str, Tensor]
SETTING = Setting(torch.float32, PPOShardingConfig(model="zero-3"), "gpt2")


def adapted_policy() -> Any:
    policy = SETTING.policy()
    add_adapter(policy, LoraConfig(rank=2))
    return policy


def whole(tensors: Any) -> Tensors:
    return {name: (t.full_tensor() if is_shard(t) else t).detach().clone() for name, t in dict(tensors).items()}


def save(trained: Trained, ranks: Ranks, folder: Path) -> None:
    trained.save_shards(folder, ranks)
    if ranks.rank == 0:
        trained.save_whole(folder, word_tokenizer())
    ranks.summed(torch.zeros(1))


def saved_adapter(ranks: Ranks, folder: Path) -> dict[str, Any]:
    def trained_of(policy: Any) -> tuple[Trained, SFTState]:
        SETTING.lay_out(ranks, model=policy)
        optimizer = SETTING.optimizer(policy.named_parameters(), ranks)
        return Trained({"model": policy}, {}, {"model": optimizer}), SFTState(policy, optimizer, ranks=ranks)

    policy = adapted_policy()
    trained, state = trained_of(policy)
    for seed in range(2):
        sft_update(state, random_rollout(8, seed=seed), micro_batch_size=3, compute="float32", hooks=HOOKS)
    save(trained, ranks, folder)
    again = adapted_policy()
    read, _ = trained_of(again)
    read.load(folder, {"model": 2})
    found, expected = whole(again.named_parameters()), whole(policy.named_parameters())
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    moments, before = read.optimizers["model"].state_tensors(), trained.optimizers["model"].state_tensors()
    assert moments.keys() == before.keys() and all(torch.equal(moments[name], before[name]) for name in before)
    return plain(expected)


def saved_scalar(ranks: Ranks, folder: Path) -> dict[str, Any]:
    """As a critic's part and as a reward model."""
    model, part = (Setting(torch.float32, SETTING.sharding).scalar_model() for _ in range(2))
    SETTING.lay_out(ranks, model=model, value_model=part)
    with torch.no_grad():
        for number, parameter in enumerate(part.parameters()):
            parameter.add_(number)
    save(Trained({"model": model}, {"value_model": dict(part.named_parameters())}, {}), ranks, folder)
    network = {f"model.{name}": parameter for name, parameter in model.network.named_parameters()}
    return plain(whole({**network, **dict(part.named_parameters())}))


def plain(tensors: Tensors) -> dict[str, Any]:
    """What a process can send without keeping it."""
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def checkpoint_of(work: Any, run: Path) -> tuple[Path, Tensors]:
    found: list[dict[str, Any]] = []
    checkpoint = write_checkpoint(run / "checkpoints", 3, lambda folder: found.extend(in_ranks(2, work, folder)))
    return checkpoint, {name: torch.from_numpy(array) for name, array in found[0].items()}


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Tensors]:
    return checkpoint_of(saved_adapter, tmp_path_factory.mktemp("adapter"))


@pytest.fixture(scope="module")
def scalar(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Tensors]:
    return checkpoint_of(saved_scalar, tmp_path_factory.mktemp("scalar"))


def test_an_adapter_is_saved_once_and_merged_shard_by_shard(adapter: tuple[Path, Tensors]) -> None:
    checkpoint, expected = adapter
    assert len(list(checkpoint.rglob("adapter_model.safetensors"))) == 1
    alone = adapted_policy()
    load_weights(alone, assembled(checkpoint) / "model")
    assert all(torch.equal(parameter, expected[name]) for name, parameter in alone.named_parameters())
    exported = load_file(assembled(checkpoint) / "model" / "model.safetensors")
    merged = merged_weights(alone, alone.state_dict())
    assert all(torch.equal(tensor, merged[name]) for name, tensor in exported.items())
    loaded = AutoModelForCausalLM.from_pretrained(assembled(checkpoint) / "model", dtype=torch.float32)
    tokens = torch.arange(3, 13)[None]
    assert torch.allclose(loaded(tokens).logits, alone(tokens).logits, atol=1e-5)


def test_an_assembled_reward_model_loads_in_plain_transformers_and_here(scalar: tuple[Path, Tensors]) -> None:
    checkpoint, expected = scalar
    folder = assembled(checkpoint) / "model"
    loaded = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    ours = load_scalar_model(ModelConfig(path=str(folder)), word_tokenizer(), CPU).network
    for network in (loaded, ours):
        for name, parameter in network.named_parameters():
            assert torch.equal(parameter, expected[f"model.{name}"]), name


def test_a_critic_lies_beside_the_assembled_policy(scalar: tuple[Path, Tensors]) -> None:
    checkpoint, expected = scalar
    assert assembled(checkpoint) == checkpoint.parents[1] / ASSEMBLED / checkpoint.name
    part = load_file(assembled(checkpoint) / "value_model" / "trained.safetensors")
    assert len(part) > 10 and all(torch.equal(tensor, expected[name]) for name, tensor in part.items())
