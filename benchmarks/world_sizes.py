"""How far fp32 training moves with the number of ranks and their layout: the same 20 optimizer steps, on gloo."""

from __future__ import annotations

import copy
import os
import tempfile
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers.utils import logging

from benchmarks.record import record
from benchmarks.tiny_models import CPU, tokenizer
from rlhf_engine.config import InitConfig, ModelConfig, OptimizerConfig, PPOConfig, PPOShardingConfig, ShardingLayout
from rlhf_engine.data.examples import Prompt
from rlhf_engine.hooks import NoHooks
from rlhf_engine.kl_control import FixedKL
from rlhf_engine.models import load_policy
from rlhf_engine.optim import ScheduledAdamW
from rlhf_engine.ppo import PPOModels, PPOState, ppo_update
from rlhf_engine.ranks import ALONE, ProcessGroupRanks, Ranks
from rlhf_engine.rollout import Rollout
from rlhf_engine.scalar_models import load_scalar_model
from rlhf_engine.sft import SFTState, sft_update
from rlhf_engine.sharding.choice import layout_of
from rlhf_engine.sharding.roles import lay_out
from rlhf_engine.sharding.state import is_shard, rest

STEPS, ROWS, VOCABULARY, EOS, PAD = 20, 16, 64, 0, 1
HOOKS = NoHooks()
OPTIMIZER = OptimizerConfig(lr=1e-3, schedule="constant", max_grad_norm=1.0)
SIZES = InitConfig(architecture="llama", hidden_size=64, layers=4, heads=4, max_positions=64, initializer_range=0.1)
CONFIG = PPOConfig(
    batch_size=ROWS, minibatches=2, ppo_epochs=2, micro_batch_size=4, rollout_batch_size=ROWS, response_tokens=16,
    optimizer=OPTIMIZER,
)  # fmt: skip
PLACES: list[tuple[int, ShardingLayout]] = [
    (1, "ddp"), (2, "ddp"), (4, "ddp"), (2, "zero-1"), (2, "zero-2"), (2, "zero-3"), (4, "zero-3"),
]  # fmt: skip
TIMEOUT = timedelta(minutes=10)


@dataclass(frozen=True)
class Trained:
    """The loss of each optimizer step or update, and all weights at the end, end to end."""

    losses: Tensor
    weights: Tensor


def sequence(row: int, length: int) -> list[int]:
    return [3 + (7 * row + 5 * place) % (VOCABULARY - 3) for place in range(length)]


def batch(step: int) -> Rollout:
    """Prompts of 2 to 9 and responses of 4 to 11 tokens."""
    rows = range(step * ROWS, (step + 1) * ROWS)
    prompts, responses = [sequence(row, 2 + row % 8) for row in rows], [sequence(3 * row, 3 + row % 8) for row in rows]
    return Rollout.of_texts(prompts, [[*tokens, EOS] for tokens in responses], eos_id=EOS, pad_id=PAD, device=CPU)


def optimizer_of(model: nn.Module, layout: ShardingLayout, ranks: Ranks) -> ScheduledAdamW:
    return ScheduledAdamW(model.named_parameters(), OPTIMIZER, STEPS, ranks, partitioned=layout == "zero-1")


def weights_of(*models: nn.Module) -> Tensor:
    parts: list[Any] = []
    for model in models:
        rest(model)
        parts += model.parameters()
    return torch.cat([(part.full_tensor() if is_shard(part) else part).detach().flatten() for part in parts])


def train_sft(ranks: Ranks, layout: ShardingLayout) -> Trained:
    torch.manual_seed(0)
    policy = load_policy(ModelConfig(init=SIZES), tokenizer(VOCABULARY), CPU)
    lay_out({"model": policy}, PPOShardingConfig(model=layout), CPU, ranks.size)
    state = SFTState(policy, optimizer_of(policy, layout, ranks), ranks=ranks)
    losses = [
        sft_update(state, batch(step), micro_batch_size=4, compute="float32", hooks=HOOKS).loss for step in range(STEPS)
    ]
    return Trained(torch.tensor(losses, dtype=torch.float64), weights_of(policy))


def train_ppo(ranks: Ranks, layout: ShardingLayout) -> Trained:
    """Updates of four optimizer steps each; responses are sampled, so that rounding may change a token."""
    torch.manual_seed(0)
    scratch, words, sharding = ModelConfig(init=SIZES), tokenizer(VOCABULARY), PPOShardingConfig(model=layout)
    policy, value_model = load_policy(scratch, words, CPU), load_scalar_model(scratch, words, CPU)
    ref_policy, reward_model = (copy.deepcopy(one).eval().requires_grad_(False) for one in (policy, value_model))
    roles = {"model": policy, "value_model": value_model, "ref_model": ref_policy, "reward_model": reward_model}
    lay_out(roles, sharding, CPU, ranks.size)
    policy_optimizer, value_optimizer = (
        optimizer_of(roles[role], layout_of(sharding, role), ranks) for role in ("model", "value_model")
    )
    models = PPOModels(policy, ref_policy, value_model, reward_model)
    state = PPOState(
        models, policy_optimizer, value_optimizer, FixedKL(CONFIG.kl_coef), eos_id=EOS, pad_id=PAD, ranks=ranks
    )
    prompts = [Prompt(str(row), "", sequence(row, 2 + row % 8)) for row in range(ROWS)]
    found = [ppo_update(state, prompts, CONFIG, HOOKS)[1].values for _ in range(STEPS // 4)]
    losses = torch.tensor([update["loss/policy"] + update["loss/value"] for update in found], dtype=torch.float64)
    return Trained(losses, weights_of(policy, value_model))


TRAINED = {"SFT": train_sft, "PPO": train_ppo}


def one_rank(rank: int, size: int, folder: str) -> None:
    """All trainings of this number of ranks; rank 0 leaves what came of them in `folder`."""
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    store = f"file://{Path(folder) / f'store-{size}'}"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=size, timeout=TIMEOUT)
    ranks: Ranks = ProcessGroupRanks() if size > 1 else ALONE
    for layout in (layout for places, layout in PLACES if places == size):
        for name, train in TRAINED.items():
            found = train(ranks, layout)
            if rank == 0:
                save_file(vars(found), Path(folder) / f"{name}-{size}-{layout}")
    os._exit(0)


def deviation(found: Trained, alone: Trained) -> dict[str, float]:
    """Largest |difference| of a loss, relative to it, and of a weight, relative to the root mean square of all."""
    size = alone.weights.double().square().mean().sqrt()
    return {
        "loss": float(((found.losses - alone.losses) / alone.losses).abs().max()),
        "weights": float((found.weights - alone.weights).abs().max() / size),
    }


def measured() -> dict[str, dict[str, dict[str, float]]]:
    """By algorithm and place."""
    with tempfile.TemporaryDirectory() as folder:
        for size in dict.fromkeys(size for size, _ in PLACES):
            torch.multiprocessing.spawn(one_rank, (size, folder), nprocs=size)  # type: ignore[attr-defined, no-untyped-call]
        read = {
            name: {place: Trained(**load_file(Path(folder) / f"{name}-{place[0]}-{place[1]}")) for place in PLACES}
            for name in TRAINED
        }
    return {
        name: {f"{size} {layout}": deviation(found, places[1, "ddp"]) for (size, layout), found in places.items()}
        for name, places in read.items()
    }


def table(found: dict[str, dict[str, dict[str, float]]]) -> list[str]:
    """Markdown: one row a place."""
    rows = [["ranks, layout", *(f"{name}: {what}" for name in found for what in ("loss", "weights"))]]
    rows.append(["---"] * len(rows[0]))
    for place in next(iter(found.values())):
        rows.append([place, *(f"{figure:.1e}" for places in found.values() for figure in places[place].values())])
    return [f"| {' | '.join(row)} |" for row in rows]


def main() -> None:
    found = measured()
    print("\n".join(table(found)))
    record("world-sizes", {"largest deviation from one process, relative, after 20 steps in fp32": found})
