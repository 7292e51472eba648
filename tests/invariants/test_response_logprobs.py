"""56, 66 and 71: log-probabilities of responses alone, made in chunks, and the supervised loss that is made of them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from engine_models import ARCHITECTURES, policy_of, random_rollout, word_tokenizer
from enumerable import all_responses, tabular_policy
from rlhf_engine.config import Architecture, OptimizerConfig
from rlhf_engine.hooks import NoHooks
from rlhf_engine.logprobs import logprobs_and_entropies, response_logprobs, selected_logprobs
from rlhf_engine.losses import next_token_loss
from rlhf_engine.optim import ScheduledAdamW
from rlhf_engine.rollout import Rollout
from rlhf_engine.sft import SFTState, held_out_loss, sft_update

HOOKS = NoHooks()


def labelled_logprobs(policy: Any, rollout: Rollout, *, prompt_labels: int | None = None) -> Tensor:
    """Sum of each row's log-probabilities as transformers' own loss has them, [B]: prompts labelled, or left out.

    `prompt_labels`: the id that stands for every prompt token among the labels; -100 is left out.
    """
    labels = torch.where(rollout.mask, rollout.tokens, -100)
    if prompt_labels is not None:
        labels[:, : rollout.prompt_tokens.shape[1]] = prompt_labels
    sums = []
    for row in range(len(rollout)):
        valid = rollout.mask[row]
        output = policy(input_ids=rollout.tokens[row][valid][None], labels=labels[row][valid][None])
        counted = int((labels[row][valid][1:] != -100).sum())
        sums.append(-output.loss * counted)
    return torch.stack(sums)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_56_prompt_tokens_are_no_part_of_a_responses_log_probability(architecture: Architecture) -> None:
    policy, rollout = policy_of(word_tokenizer(), architecture), random_rollout()
    with torch.no_grad():
        ours = response_logprobs(policy, rollout).sum(dim=-1)
        assert torch.allclose(ours, labelled_logprobs(policy, rollout, prompt_labels=-100), atol=1e-4)
        whole = labelled_logprobs(policy, rollout)
    long_prompts = rollout.prompt_mask.sum(dim=-1) > 1
    assert float((whole - ours)[long_prompts].max()) < -1.0


def test_56_what_is_labelled_in_the_prompt_has_no_gradient() -> None:
    """The prompt's tokens act as context alone: in a table of contexts no logit before the response is learned."""
    policy, responses = tabular_policy(3, 2, spread=1.0), all_responses(3, 2)
    response_logprobs(policy, responses).sum().backward()
    used = policy.table.grad
    assert used is not None
    starts = int(policy.base_model.indices(responses.tokens, responses.mask)[0, 0])
    assert bool(used[:, starts].any())
    assert int((used.abs().sum(dim=0) > 0).sum()) == 1 + 2


@pytest.mark.parametrize("temperature", [0.7, 1.0])
@pytest.mark.parametrize("rows_in_chunk", [16, 17, 100])
def test_66_chunked_log_probabilities_are_the_full_log_softmax(
    monkeypatch: pytest.MonkeyPatch, rows_in_chunk: int, temperature: float
) -> None:
    monkeypatch.setattr("rlhf_engine.logprobs.CHUNK_BYTES", 4 * 40 * rows_in_chunk)
    generator = torch.Generator().manual_seed(0)
    hidden, weight = (torch.randn(n, 8, generator=generator).requires_grad_() for n in (50, 40))
    targets = torch.randint(40, (50,), generator=generator)
    upstream = torch.randn(50, generator=generator)
    full = (hidden @ weight.T / temperature).log_softmax(dim=-1)
    chosen = full.gather(1, targets[:, None]).squeeze(1)
    chunked = selected_logprobs(hidden, weight, targets, temperature)
    assert torch.allclose(chunked, chosen, atol=1e-6)
    again, entropies = logprobs_and_entropies(hidden, weight, targets, temperature)
    assert torch.allclose(again, chosen, atol=1e-6)
    assert torch.allclose(entropies, -(full.exp() * full).sum(dim=-1), atol=1e-5)
    for ours, expected in zip(
        torch.autograd.grad((chunked * upstream).sum(), (hidden, weight)),
        torch.autograd.grad((chosen * upstream).sum(), (hidden, weight)),
        strict=True,
    ):
        assert float((ours - expected).abs().max()) <= 1e-6 * float(expected.abs().max())


def test_71_a_uniform_models_cross_entropy_is_ln_v() -> None:
    policy, rollout = policy_of(word_tokenizer()), random_rollout()
    with torch.no_grad():
        policy.get_output_embeddings().weight.zero_()
    loss = held_out_loss(policy, [rollout], compute="float32", hooks=HOOKS)
    assert loss == pytest.approx(math.log(len(word_tokenizer())), abs=1e-6)


def loss_and_gradients(policy: Any, rollout: Rollout) -> list[Tensor]:
    loss = next_token_loss(response_logprobs(policy, rollout), rollout.response_mask)
    return [loss, *torch.autograd.grad(loss, list(policy.parameters()))]


def padded(rollout: Rollout, columns: int) -> Rollout:
    """More padding on both sides, full of words."""
    words = torch.full((len(rollout), columns), 9)
    nothing = torch.zeros_like(words, dtype=torch.bool)
    return Rollout(
        torch.cat([words, rollout.prompt_tokens], dim=1),
        torch.cat([nothing, rollout.prompt_mask], dim=1),
        torch.cat([rollout.response_tokens, words], dim=1),
        torch.cat([rollout.response_mask, nothing], dim=1),
        rollout.ended,
    )


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_71_padding_costs_nothing_and_teaches_nothing(architecture: Architecture) -> None:
    policy, rollout = policy_of(word_tokenizer(), architecture), random_rollout()
    plain, more = loss_and_gradients(policy, rollout), loss_and_gradients(policy, padded(rollout, 5))
    for a, b in zip(plain, more, strict=True):
        assert float((a - b).abs().max()) <= 1e-5 * max(float(a.abs().max()), 1e-3)


def test_71_the_loss_is_transformers_own_with_the_prompt_left_out() -> None:
    """Mean over all response tokens of the batch, EOS included; not a mean of the rows' means."""
    policy, rollout = policy_of(word_tokenizer()), random_rollout()
    with torch.no_grad():
        expected = -float(labelled_logprobs(policy, rollout, prompt_labels=-100).sum()) / int(
            rollout.response_lengths.sum()
        )
    optimizer = ScheduledAdamW(policy.named_parameters(), OptimizerConfig(lr=0.0), 1)
    update = sft_update(SFTState(policy, optimizer), rollout, micro_batch_size=2, compute="float32", hooks=HOOKS)
    assert update.loss == pytest.approx(expected, abs=1e-5)
