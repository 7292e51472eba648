"""Column t belongs to the t-th sampled token: its log-probability, its reward, and the value of the state before it."""

from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaConfig
from transformers.modeling_outputs import BaseModelOutputWithPast

from engine_models import ARCHITECTURES, random_rollout
from rlhf_engine import advantages, logprobs, masking, ppo, rewards, scalar_models
from rlhf_engine.config import Architecture
from rlhf_engine.rollout import Rollout
from rlhf_engine.scalar_models import ScalarModel
from small_ppo import CPU, EOS, PAD, config_with, new_experience, new_policy, new_state

PROMPT, T1, T2 = 5, 3, 2
VOCABULARY, STATES = 6, 5


class _StateNumbers(nn.Module):
    """A "transformer" whose hidden state in column i is the i-th unit vector."""

    def forward(self, *, input_ids: Tensor, **_: Any) -> BaseModelOutputWithPast:
        return BaseModelOutputWithPast(last_hidden_state=torch.eye(STATES).expand(len(input_ids), -1, -1))


class StateModel(nn.Module):
    """Output row k of state i is `table[k, i]`: logits of a policy, or the value of a scalar model."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.base_model, self.config = _StateNumbers(), LlamaConfig()
        self.score = nn.Linear(STATES, len(table), bias=False)
        self.score.weight.data = table

    def get_output_embeddings(self) -> nn.Linear:
        return self.score


def golden_rollout() -> Rollout:
    """What follows EOS was sampled too, and is no part of the response."""
    sampled = torch.tensor([[T1, T2, EOS, 4]])
    prompt = torch.tensor([[PROMPT]]), torch.tensor([[True]])
    return Rollout.of_samples(*prompt, sampled, eos_id=EOS, pad_id=PAD)


def test_13_actions_and_masks() -> None:
    rollout = golden_rollout()
    assert rollout.tokens.tolist() == [[PROMPT, T1, T2, EOS, PAD]]
    assert rollout.response_tokens.tolist() == [[T1, T2, EOS, PAD]]
    assert rollout.response_mask.tolist() == [[True, True, True, False]]
    assert rollout.mask.tolist() == [[True, True, True, True, False]]
    assert rollout.ended.tolist() == [True]
    assert rollout.response_lengths.tolist() == [3]


def test_13_each_action_is_scored_by_the_logits_of_the_state_before_it() -> None:
    probabilities = torch.full((VOCABULARY, STATES), 0.1 / (VOCABULARY - 1))
    for state, action in enumerate([T1, T2, EOS, PAD]):
        probabilities[action, state] = 0.9
    policy = StateModel(probabilities.log())
    expected = torch.tensor([[0.9, 0.9, 0.9, 1.0]]).log()
    assert torch.allclose(logprobs.response_logprobs(policy, golden_rollout()), expected, rtol=0.0, atol=1e-6)


def test_13_values_are_those_of_the_states_before_and_the_score_that_of_the_state_after_eos() -> None:
    scalar: Any = ScalarModel(StateModel(torch.tensor([[10.0, 11.0, 12.0, 13.0, 14.0]])))
    assert scalar_models.response_values(scalar, golden_rollout()).tolist() == [[10.0, 11.0, 12.0, 0.0]]
    assert scalar_models.response_scores(scalar, golden_rollout()).tolist() == [13.0]


def test_13_the_score_is_the_reward_of_the_eos_action() -> None:
    rollout = golden_rollout()
    nothing = torch.zeros(1, 4)
    given = rewards.kl_penalized_rewards(torch.ones(1), nothing, nothing, rollout.response_mask, 0.05)
    assert given.tolist() == [[0.0, 0.0, 1.0, 0.0]]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.no_grad()
def test_14_sliced_logits_are_one_forward_per_prefix(architecture: Architecture) -> None:
    policy, rows, temperature = new_policy(architecture), random_rollout(), 0.7
    ours, entropies = logprobs.response_logprobs_and_entropies(policy, rows, temperature=temperature)
    for row in range(len(rows)):
        context = rows.prompt_tokens[row][rows.prompt_mask[row]]
        for t in range(int(rows.response_lengths[row])):
            action = rows.response_tokens[row, t]
            logits = policy(input_ids=context[None]).logits[0, -1] / temperature
            assert abs(float(ours[row, t] - logits.log_softmax(-1)[action])) <= 1e-4
            assert abs(float(entropies[row, t] - torch.distributions.Categorical(logits=logits).entropy())) <= 1e-4
            context = torch.cat([context, action[None]])
    assert bool((ours[~rows.response_mask] == 0.0).all())


MASK = torch.tensor([[True, True, True, False], [True, False, False, False], [True, True, True, True]])
SCORES = torch.tensor([1.5, -2.0, 0.25])


def test_15_the_score_is_rewarded_once_at_the_last_action_and_kl_at_every_action() -> None:
    torch.manual_seed(0)
    ours, theirs = (torch.randn(3, 4).masked_fill(~MASK, torch.nan) for _ in range(2))
    bare = rewards.kl_penalized_rewards(SCORES, ours, theirs, MASK, 0.0)
    assert bare.tolist() == [[0.0, 0.0, 1.5, 0.0], [-2.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.25]]
    given = rewards.kl_penalized_rewards(SCORES, ours, theirs, MASK, 0.1)
    penalties = -0.1 * (ours - theirs).masked_fill(~MASK, 0.0)
    assert torch.allclose(given - penalties, bare, rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("row", range(3))
def test_15_only_one_place_depends_on_a_score(row: int) -> None:
    def of_scores(scores: Tensor) -> Tensor:
        return rewards.kl_penalized_rewards(scores, torch.ones(3, 4), torch.zeros(3, 4), MASK, 0.3)

    jacobian = torch.autograd.functional.jacobian(of_scores, SCORES)
    places = jacobian[:, :, row].nonzero().tolist()
    assert places == [[row, [2, 0, 3][row]]]
    assert float(jacobian[:, :, row].sum()) == 1.0


def test_15_rewards_of_experience_add_up_to_the_score() -> None:
    experience = new_experience(new_state(), config_with(kl_coef=0.7))
    last = experience.rollout.response_lengths - 1
    rows = torch.arange(len(experience))
    assert torch.equal(experience.rewards[rows, last], experience.scores)
    assert torch.equal(experience.rewards.sum(dim=1), experience.scores)
    ended = experience.rollout.ended
    assert bool((experience.rollout.response_tokens[rows, last][ended] == EOS).all())


def test_16_what_comes_after_eos_is_not_bootstrapped() -> None:
    torch.manual_seed(1)
    given, values = torch.randn(3, 4), torch.randn(3, 4)
    results = [
        advantages.generalized_advantages(
            given.masked_fill(~MASK, junk), values.masked_fill(~MASK, junk), MASK, gamma=0.9, gae_lambda=0.8
        )
        for junk in (0.0, 1e9, torch.nan)
    ]
    for ours, returns in results[1:]:
        assert torch.equal(ours, results[0][0])
        assert torch.equal(returns, results[0][1])
    last = torch.tensor([2, 0, 3])
    rows = torch.arange(3)
    assert torch.allclose(results[0][0][rows, last], (given - values)[rows, last], rtol=0.0, atol=1e-6)


def test_16_the_critics_opinion_of_what_follows_the_end_does_not_matter() -> None:
    state = new_state()
    expected = new_experience(state)
    real_values = scalar_models.response_values

    def opinionated(value_model: ScalarModel, rows: Rollout) -> Tensor:
        return real_values(value_model, rows).masked_fill(~rows.response_mask, 1e6)

    with patch.object(ppo, "response_values", opinionated):
        experience = new_experience(state)
    assert torch.equal(experience.advantages, expected.advantages)
    assert torch.equal(experience.returns, expected.returns)


@pytest.mark.parametrize("rule", ["replace", "subtract"])
def test_17_cut_responses_end_the_episode_with_the_declared_score(rule: Any) -> None:
    """By hand, lambda = 1 and no KL: A_t = score - V_t at every action, cut or not; nothing is bootstrapped."""
    config = config_with(missing_eos=rule, missing_eos_value=-3.0, kl_coef=0.0, gae_lambda=1.0, whiten_advantages=False)
    state = new_state(config)
    experience = new_experience(state, config)
    rows, mask = experience.rollout, experience.response_mask
    raw = scalar_models.response_scores(state.models.reward_model, rows).detach()
    cut = torch.full_like(raw, -3.0) if rule == "replace" else raw + 3.0
    expected = torch.where(rows.ended, raw, cut)[:, None] - experience.values
    assert torch.allclose(experience.advantages[mask], expected[mask], rtol=0.0, atol=1e-5)


def test_19_the_rule_for_missing_eos_acts_once_on_rows_without_eos_only() -> None:
    scores, ended = torch.tensor([2.0, 2.0, 5.0]), torch.tensor([True, False, False])
    assert rewards.apply_missing_eos_rule(scores, ended, rule="replace", value=-1.0).tolist() == [2.0, -1.0, -1.0]
    assert rewards.apply_missing_eos_rule(scores, ended, rule="subtract", value=1.0).tolist() == [2.0, 1.0, 4.0]


@pytest.mark.parametrize("rule", ["replace", "subtract"])
def test_19_rewards_of_a_row_without_eos_add_up_to_its_penalised_score(rule: Any) -> None:
    config = config_with(missing_eos=rule, missing_eos_value=-1.0 if rule == "replace" else 0.5, kl_coef=0.0)
    state = new_state(config)
    experience = new_experience(state, config)
    raw = scalar_models.response_scores(state.models.reward_model, experience.rollout).detach()
    cut, total = ~experience.rollout.ended, experience.rewards.sum(dim=1)
    expected = torch.full_like(raw, -1.0) if rule == "replace" else raw - 0.5
    assert torch.allclose(total[cut], expected[cut], rtol=0.0, atol=1e-5)
    assert torch.allclose(total[~cut], raw[~cut], rtol=0.0, atol=1e-5)


def test_20_a_response_without_eos_is_valid_to_its_end() -> None:
    """Sampled: all columns, a sampled PAD among them. Given and shorter than its company: its own tokens."""
    sampled = torch.tensor([[7, PAD, 8], [7, EOS, 8], [EOS, 7, EOS]])
    prompt = torch.full((3, 1), 9), torch.ones(3, 1, dtype=torch.bool)
    rows = Rollout.of_samples(*prompt, sampled, eos_id=EOS, pad_id=PAD)
    assert rows.response_mask.tolist() == [[True] * 3, [True, True, False], [True, False, False]]
    assert rows.ended.tolist() == [False, True, True]
    assert rows.response_tokens.tolist() == [[7, PAD, 8], [7, EOS, PAD], [EOS, PAD, PAD]]
    given = Rollout.of_texts([[9]] * 3, [[7, 8], [7, 8, 10], [7, EOS]], eos_id=EOS, pad_id=PAD, device=CPU)
    assert given.response_mask.tolist() == [[True, True, False], [True] * 3, [True, True, False]]
    assert given.ended.tolist() == [False, False, True]


def test_20_a_rollouts_mask_ends_with_the_first_eos() -> None:
    rows = new_experience(new_state()).rollout
    for tokens, mask, ended in zip(rows.response_tokens.tolist(), rows.response_mask.tolist(), rows.ended, strict=True):
        length = tokens.index(EOS) + 1 if EOS in tokens else len(tokens)
        assert mask == [t < length for t in range(len(tokens))]
        assert bool(ended) == (EOS in tokens)


def test_21_the_first_match_is_found_and_kept() -> None:
    matches = torch.tensor([[False, True, True], [False, False, False], [True, False, True], [False, False, True]])
    assert masking.first_true_index(matches).tolist() == [1, 3, 0, 2]
    kept = [[True, True, False], [True, True, True], [True, False, False], [True, True, True]]
    assert masking.mask_through_first(matches).tolist() == kept
