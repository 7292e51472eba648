"""What is measured on data that never changes, in float64, by so many ranks; how many tokens each rank read for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from engine_models import random_rollout, word_tokenizer
from rlhf_engine.config import DPOConfig, KTOConfig, OptimizerConfig
from rlhf_engine.hacking.probe import Heads, Probe
from rlhf_engine.hooks import NoHooks
from rlhf_engine.kl_control import FixedKL
from rlhf_engine.ppo import PPOState
from rlhf_engine.preference_training import PreferenceState, implicit_rewards, measured_reference_point
from rlhf_engine.ranks import Ranks
from rlhf_engine.reward_modeling import head_scores_by_group
from rlhf_engine.sft import nats_per_token, row_losses
from rlhf_engine.shares import of_all_groups, of_all_rows
from small_ppo import EOS, PAD, config_with
from trained import PROMPTS, Setting, groups, separate

HOOKS = NoHooks()
ROWS = 7
"""No multiple of a number of ranks."""
OPTIMIZER = OptimizerConfig()
Measured = tuple[list[float], int]


@contextmanager
def tokens_counted(*models: nn.Module) -> Iterator[Callable[[], int]]:
    """Tokens that `models` read; their embeddings see each once in a forward."""
    seen = 0

    def count(_module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        nonlocal seen
        seen += inputs[0].numel()

    embeddings = [part for model in models for part in model.modules() if isinstance(part, nn.Embedding)]
    handles = [part.register_forward_pre_hook(count) for part in embeddings]
    yield lambda: seen
    for handle in handles:
        handle.remove()


def held_out_loss(ranks: Ranks, setting: Setting) -> Measured:
    policy, rollout = setting.policy(), random_rollout(ROWS, seed=3)
    setting.lay_out(ranks, model=policy)

    def of_rows(own: list[int]) -> torch.Tensor:
        batches = (rollout.rows(torch.tensor(own[start : start + 2])) for start in range(0, len(own), 2))
        return row_losses(policy, batches, compute="float32", hooks=HOOKS)

    with tokens_counted(policy) as tokens:
        return [nats_per_token(of_all_rows(ranks, rollout.lengths, of_rows))], tokens()


def held_out_scores(ranks: Ranks, setting: Setting) -> Measured:
    model, compared = setting.scalar_model(), groups(ROWS)
    setting.lay_out(ranks, model=model)

    def of_groups(own: list[Any]) -> list[torch.Tensor]:
        return head_scores_by_group(model, own, 2, compute="float32", hooks=HOOKS)

    with tokens_counted(model) as tokens:
        found = of_all_groups(ranks, compared, of_groups)
    assert [len(part) for part in found] == [len(group.responses) for group in compared]
    return torch.cat(found).flatten().tolist(), tokens()


def preferences(ranks: Ranks, setting: Setting) -> Measured:
    """Implicit rewards, and KTO's z0 (below 0 it would be 0)."""
    policy, reference = setting.policy(), setting.policy().requires_grad_(False)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.mul_(0.5)
    setting.lay_out(ranks, model=policy, ref_model=reference)
    state = PreferenceState(policy, reference, setting.optimizer(policy.named_parameters(), ranks), ranks=ranks)
    compared = groups(ROWS)
    with tokens_counted(policy, reference) as tokens:
        rewards = implicit_rewards(state, compared, DPOConfig(optimizer=OPTIMIZER, micro_batch_size=2), HOOKS)
        z0 = measured_reference_point(state, compared, KTOConfig(optimizer=OPTIMIZER, micro_batch_size=2), HOOKS)
    return [float(z0), *(reward for group in rewards for reward in group)], tokens()


def probe(ranks: Ranks, setting: Setting) -> Measured:
    models = separate(setting)
    policy, value_model = models.policy, models.value_model
    setting.lay_out(
        ranks, model=policy, value_model=value_model, ref_model=models.ref_policy, reward_model=models.reward_model
    )
    optimizer = setting.optimizer(policy.named_parameters(), ranks)
    state = PPOState(models, optimizer, optimizer, FixedKL(0.1), eos_id=EOS, pad_id=PAD, ranks=ranks)
    taken = Probe(PROMPTS[:ROWS], Heads("second", value_model, 0.0), word_tokenizer())
    with tokens_counted(policy) as tokens:
        reading = taken.read(state, config_with(), HOOKS)
    lengths = [float(len(text)) for text in reading.texts]
    figures = [*reading.proxy, *reading.second, *reading.kl_nats, *reading.entropy_nats]
    return [*lengths, *map(float, reading.tokens), *map(float, reading.ended), *figures], tokens()


def evaluate(ranks: Ranks, setting: Setting) -> dict[str, Measured]:
    """Figures, and how many tokens this rank read for them."""
    return {work.__name__: work(ranks, setting) for work in (held_out_loss, held_out_scores, preferences, probe)}
