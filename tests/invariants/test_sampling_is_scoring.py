"""The policy that samples is the policy that is scored: no dropout, one temperature, no truncation, one forward."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from decoding import RESPONSE_TOKENS, TOKENS, chosen, decoded, rolled_out, watched_sampling
from engine_models import ARCHITECTURES, random_rollout, word_tokenizer
from rlhf_engine import collecting, logprobs, models, ppo, scalar_models, trunk, update_metrics
from rlhf_engine.config import Architecture, ModelConfig
from rlhf_engine.decoding.sampler import choose_tokens, keyed_uniforms
from rlhf_engine.rollout import Rollout
from small_ppo import (
    CONFIG,
    CPU,
    EOS,
    HOOKS,
    PAD,
    PROMPTS,
    config_with,
    new_experience,
    new_policy,
    new_scalar_model,
    new_state,
)

DROPOUT = {
    "llama": ["attention_dropout"],
    "gpt_neox": ["attention_dropout", "hidden_dropout"],
    "gpt2": ["attn_pdrop", "embd_pdrop", "resid_pdrop"],
}


def saved_with_dropout(model: Any, config: Any, architecture: Architecture, directory: Path) -> ModelConfig:
    """A checkpoint whose config asks for dropout in every place that the architecture has."""
    for name in DROPOUT[architecture]:
        assert hasattr(config, name)
        setattr(config, name, 0.5)
    models.save_model(model, word_tokenizer(), directory)
    return ModelConfig(path=str(directory))


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_05_two_forwards_in_training_mode_are_bit_equal(
    architecture: Architecture, attention: Any, tmp_path: Path
) -> None:
    policy, rows = new_policy(architecture, attention=attention), random_rollout()
    config = msgspec.structs.replace(
        saved_with_dropout(policy, policy.config, architecture, tmp_path), attention=attention
    )
    plain = AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation=attention).train()
    assert not torch.equal(*(plain(input_ids=rows.tokens.clamp(max=32)).logits for _ in range(2)))
    loaded = models.load_policy(config, word_tokenizer(), CPU).train()
    first, second = (logprobs.response_logprobs(loaded, rows) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(first, logprobs.response_logprobs(loaded.eval(), rows))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_05_scores_and_values_are_bit_equal_in_training_mode(architecture: Architecture, tmp_path: Path) -> None:
    scalar, rows = new_scalar_model(architecture), random_rollout()
    config = saved_with_dropout(scalar, scalar.network.config, architecture, tmp_path)
    loaded = scalar_models.load_scalar_model(config, word_tokenizer(), CPU).train()
    for forward in (scalar_models.response_values, scalar_models.response_scores):
        assert torch.equal(forward(loaded, rows), forward(loaded, rows))


@torch.no_grad()
def belief_error(policy: Any, rows: Rollout, beliefs: Tensor, temperature: float) -> float:
    """max |log p| between the distributions that tokens were drawn from and those of the training forward."""
    states = trunk.states_at(policy, rows.token_rows, rows.acting_places)
    scored = (states @ models.lm_head_weight(policy).T / temperature).log_softmax(dim=-1)
    return float((beliefs[rows.response_mask] - scored).abs().max())


@pytest.mark.parametrize("temperature", [0.5, 0.7, 1.0, 1.6])
def test_06_rollout_reference_and_update_share_one_temperature(temperature: float) -> None:
    config = config_with(temperature=temperature)
    state = new_state(config)
    with watched_sampling(config.seed, len(PROMPTS), config.response_tokens) as beliefs:
        experience, metrics = ppo.ppo_update(state, PROMPTS, config, HOOKS)
    rows, mask = experience.rollout, experience.response_mask
    assert belief_error(state.models.ref_policy, rows, beliefs, temperature) <= 1e-4
    assert float((chosen(beliefs, rows) - experience.logprobs[mask]).abs().max()) <= 1e-4
    assert float((chosen(beliefs, rows) - experience.ref_logprobs[mask]).abs().max()) <= 1e-4
    entropies = -(beliefs[mask].exp() * beliefs[mask]).sum(dim=-1)
    assert torch.allclose(experience.entropies[mask], entropies, rtol=0.0, atol=1e-4)
    assert metrics.values["policy/ratio_max_deviation"] <= 1e-5


def test_06_another_temperature_in_one_place_is_seen() -> None:
    other = config_with(temperature=1.0)
    state = new_state()
    experience, policy = new_experience(state), state.models.policy
    rows, beliefs = decoded(policy, temperature=other.temperature)
    assert belief_error(policy, rows, beliefs, CONFIG.temperature) > 0.1
    reference, _ = collecting.policy_logprobs(
        state, state.models.ref_policy, experience.rollout, other, HOOKS, phase=""
    )
    assert float((experience.logprobs - reference).abs().max()) > 0.1
    statistics = update_metrics.UpdateStatistics()
    ppo.ppo_loss(state.models, experience, experience, other, statistics)
    assert float(statistics.first_ratio_deviations[0]) > 0.1


def test_07_every_token_has_its_own_share_of_the_unit_interval() -> None:
    """Over a grid of 20 000 points tokens are drawn as often as their probabilities say, down to 1e-4; each is reached
    at the middle of its share, and one of probability 0 never.
    """
    probabilities = torch.logspace(-4, -1, 60, dtype=torch.float64)
    probabilities = torch.cat([probabilities, torch.zeros(1)])[torch.randperm(61, generator=torch.Generator())]
    probabilities /= probabilities.sum()
    middles = probabilities.cumsum(0) - probabilities / 2
    used = (probabilities > 0).nonzero().squeeze(1)
    logits = probabilities.log().float()
    assert choose_tokens(logits.expand(len(used), -1), middles[used], 1.0).tolist() == used.tolist()
    grid = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    counts = choose_tokens(logits.expand(len(grid), -1), grid, 1.0).bincount(minlength=61)
    assert float((counts - 20_000 * probabilities).abs().max()) <= 1.01


def test_07_tokens_are_drawn_with_their_probabilities_over_the_whole_vocabulary() -> None:
    probabilities = torch.tensor([0.5, 0.3, 0.0, 0.15, 0.05])
    draws = 40_000
    uniforms = keyed_uniforms(1, range(draws), 1)[:, 0]
    tokens = choose_tokens(probabilities.log().expand(draws, -1), uniforms, 1.0)
    counts = tokens.bincount(minlength=5).double()
    expected = probabilities.double() * draws
    used = expected > 0
    chi_square = float(((counts - expected)[used] ** 2 / expected[used]).sum())
    assert int(counts[2]) == 0
    assert chi_square < 16.3  # 99.9 % quantile at 3 degrees of freedom


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_07_the_sampler_sees_the_whole_vocabulary(architecture: Architecture) -> None:
    state = new_state(CONFIG, architecture)
    with watched_sampling(CONFIG.seed, len(PROMPTS), CONFIG.response_tokens) as beliefs:
        rows = collecting.roll_out(state, PROMPTS, CONFIG, HOOKS)
    seen = beliefs[rows.response_mask]
    assert torch.isfinite(seen).all(dim=-1).all()
    assert torch.equal((seen.exp() > 0).sum(dim=-1), torch.full((len(seen),), len(word_tokenizer())))


@torch.no_grad()
def test_07_log_probabilities_of_all_actions_add_up_to_one() -> None:
    policy, vocabulary = new_policy(), len(word_tokenizer())
    prompts = [[7, 8, 9]] * vocabulary
    actions = [[token] for token in range(vocabulary)]
    rows = Rollout.of_texts(prompts, actions, eos_id=EOS, pad_id=PAD, device=CPU)
    mass = logprobs.response_logprobs(policy, rows, temperature=0.7).double().exp().sum()
    assert abs(float(mass) - 1.0) <= 1e-5


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_09_cached_decoding_is_the_full_forward(architecture: Architecture, temperature: float) -> None:
    """Of the whole distribution, at every step, with left padding and rows that leave the batch before the others."""
    policy = new_policy(architecture)
    rows, beliefs = decoded(policy, temperature=temperature)
    assert int(rows.response_lengths.min()) < int(rows.response_lengths.max()) == RESPONSE_TOKENS
    assert belief_error(policy, rows, beliefs, temperature or 1.0) <= 1e-4


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_09_greedy_responses_are_those_of_transformers(architecture: Architecture) -> None:
    policy = new_policy(architecture)
    rows = rolled_out(policy, temperature=0.0)
    for row, prompt in enumerate(TOKENS):
        expected = policy.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            do_sample=False,
            max_new_tokens=RESPONSE_TOKENS,
            eos_token_id=EOS,
            pad_token_id=PAD,
        )[0, len(prompt) :]
        valid = rows.response_tokens[row][rows.response_mask[row]]
        assert valid.tolist() == expected[: len(valid)].tolist()
        assert bool(rows.ended[row]) == (EOS in expected.tolist())
