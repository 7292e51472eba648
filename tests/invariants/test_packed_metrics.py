"""36: every logged metric is a figure of valid tokens alone, whatever padding there is and whatever stands in it."""

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from padding import keep_padding, poisoned_experience, widened, widened_experience, with_junk
from plain_forward import one_by_one_logits, one_by_one_logprobs, one_by_one_values
from rlhf_engine import ppo, update_metrics
from rlhf_engine.experience import PPOExperience
from rlhf_engine.ppo import PPOState
from small_ppo import HOOKS, PROMPTS, config_with, new_experience, new_state

CONFIG = config_with(ppo_epochs=1, minibatches=1, kl_coef=0.3, vf_coef=0.5)
SETTINGS = {"kl/coef", "optimizer/lr", "optimizer/steps_in_update"}
"""Figures that no token enters."""


def trained_state() -> PPOState:
    """After an update, so that the policy has left the reference."""
    state = new_state(CONFIG)
    ppo.ppo_update(state, PROMPTS, CONFIG, HOOKS)
    return state


def as_of_another_policy(experience: PPOExperience) -> PPOExperience:
    """Old log-probabilities and values are off, so that ratios differ from 1 and some tokens are clipped."""
    generator = torch.Generator().manual_seed(0)
    mask, names = experience.response_mask, ("logprobs", "values")
    moved = {
        name: (part + 0.3 * torch.randn(mask.shape, generator=generator)).masked_fill(~mask, 0.0)
        for name in names
        if isinstance(part := getattr(experience, name), Tensor)
    }
    return dataclasses.replace(experience, **moved)  # type: ignore[arg-type]


def metrics_of(state: PPOState, experience: PPOExperience, size: int) -> dict[str, float]:
    statistics = update_metrics.UpdateStatistics()
    for micro_batch in experience.micro_batches(size):
        ppo.ppo_loss(state.models, micro_batch, experience, CONFIG, statistics).backward()
    statistics.end_minibatch(state.policy_optimizer, state.value_optimizer)
    return update_metrics.UpdateMetrics.of(experience, statistics, kl_coef=0.3).values


def packed_metrics(state: PPOState, experience: PPOExperience) -> dict[str, float]:
    """From the valid tokens laid end to end, [N], each row's forward by itself."""
    rows, mask, models = experience.rollout, experience.response_mask, state.models
    old, reference, advantages, returns, old_values, entropies = (
        part[mask]
        for part in (
            experience.logprobs, experience.ref_logprobs, experience.advantages, experience.returns, experience.values,
            experience.entropies,
        )
    )  # fmt: skip
    new = torch.cat(one_by_one_logprobs(models.policy, rows, CONFIG.temperature))
    values = torch.cat(one_by_one_values(models.value_model, rows))
    ratios = (new - old).exp()
    policy_loss = torch.maximum(-advantages * ratios, -advantages * ratios.clamp(0.8, 1.2)).mean()
    clipped = old_values + (values - old_values).clamp(-0.2, 0.2)
    value_loss = 0.5 * torch.maximum((values - returns) ** 2, (clipped - returns) ** 2).mean()
    (policy_loss + CONFIG.vf_coef * value_loss).backward()
    totals = [float(r[m].sum()) for r, m in zip(experience.rewards, mask, strict=True)]
    log_ratios = experience.logprobs - experience.ref_logprobs
    kls = torch.stack([of_row[m].sum() for of_row, m in zip(log_ratios, mask, strict=True)])
    ended = [0 in tokens[m].tolist() for tokens, m in zip(rows.response_tokens, mask, strict=True)]
    figures: dict[str, Any] = {
        "loss/policy": policy_loss,
        "loss/value": value_loss,
        "policy/clip_fraction": ((ratios - 1).abs() > 0.2).float().mean(),
        "policy/approx_kl_nats": 0.5 * (new - old).square().mean(),
        "policy/log_ratio_max_nats": (new - old).abs().max(),
        "policy/ratio_max_deviation": (ratios - 1).abs().max(),
        "value/clip_fraction": ((values - old_values).abs() > 0.2).float().mean(),
        "value/explained_variance": 1 - (returns - old_values).var(correction=0) / returns.var(correction=0),
        "reward/score_mean": experience.scores.mean(),
        "reward/score_std": experience.scores.std(correction=0),
        "reward/total_mean": sum(totals) / len(totals),
        "kl/sequence_nats": kls.mean(),
        "kl/token_nats": (old - reference).mean(),
        "kl/token_max_nats": (old - reference).abs().max(),
        "policy/entropy_nats": entropies.mean(),
        "response/tokens_mean": sum(int(m.sum()) for m in mask) / len(mask),
        "response/eos_share": sum(ended) / len(mask),
        "optimizer/grad_norm": gradient_norm(models.policy),
        "optimizer/value_grad_norm": gradient_norm(models.value_model),
    }
    return {name: float(torch.as_tensor(figure).detach()) for name, figure in figures.items()}


def gradient_norm(model: nn.Module) -> float:
    """Of what has been accumulated, which is cleared."""
    norm = math.sqrt(sum(float(p.grad.double().square().sum()) for p in model.parameters() if p.grad is not None))
    model.zero_grad()
    return norm


@pytest.mark.parametrize("size", [1, 3, 8])
@pytest.mark.parametrize("padded", ["as it is", "wider", "wider, with NaN and junk"])
def test_36_every_metric_is_that_of_the_packed_tokens(padded: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    state = trained_state()
    experience = as_of_another_policy(new_experience(state, CONFIG))
    expected = packed_metrics(state, experience)
    if padded != "as it is":
        keep_padding(monkeypatch)
        experience = widened_experience(experience)
    if padded == "wider, with NaN and junk":
        experience = poisoned_experience(experience, math.nan)
        experience = dataclasses.replace(experience, rollout=with_junk(experience.rollout))
    logged = metrics_of(state, experience, size)
    assert logged.keys() - expected.keys() == SETTINGS
    assert {name: logged[name] for name in expected} == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert 0.0 < expected["policy/clip_fraction"] < 1.0


def test_36_entropy_is_that_of_the_packed_tokens() -> None:
    state = trained_state()
    experience = new_experience(state, CONFIG)
    logits = torch.cat(one_by_one_logits(state.models.policy, experience.rollout, CONFIG.temperature)).detach()
    assert float(experience.mean_entropy) == pytest.approx(
        float(torch.distributions.Categorical(logits=logits).entropy().mean()), rel=1e-5
    )


def test_36_more_padding_changes_no_metric_of_a_whole_update(monkeypatch: pytest.MonkeyPatch) -> None:
    """With padding that no forward cuts away, from the rollout on."""

    def run() -> dict[str, float]:
        return ppo.ppo_update(new_state(CONFIG), PROMPTS, CONFIG, HOOKS)[1].values

    narrow, roll_out = run(), ppo.roll_out  # type: ignore[attr-defined]
    keep_padding(monkeypatch)
    monkeypatch.setattr(ppo, "roll_out", lambda *given: with_junk(widened(roll_out(*given))))
    assert run() == pytest.approx(narrow, rel=1e-5, abs=1e-5)
