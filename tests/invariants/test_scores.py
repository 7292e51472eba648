"""49 to 52: the pairwise loss, the head at its start, normalised scores, and where a score is read."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from engine_models import ARCHITECTURES, policy_of, random_rollout, scalar_model_of, word_tokenizer
from rlhf_engine.config import Architecture, ModelConfig
from rlhf_engine.data.examples import ComparisonGroup, Prompt
from rlhf_engine.losses import pairwise_loss
from rlhf_engine.models import save_model
from rlhf_engine.reward_modeling import normalising_affine, pair_accuracy, pair_rows
from rlhf_engine.rollout import Rollout
from rlhf_engine.scalar_heads import init_heads
from rlhf_engine.scalar_models import load_scalar_model, response_scores
from rlhf_engine.trunk import padded_states

CPU = torch.device("cpu")


def noise(*shape: int) -> torch.Tensor:
    """The same standard normal numbers in every test, fp64."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_49_equal_scores_cost_ln_2() -> None:
    scores = noise(7)
    assert float(pairwise_loss(scores, scores, 7)) == pytest.approx(math.log(2), abs=1e-12)


def test_49_a_shift_of_all_scores_changes_neither_loss_nor_gradient() -> None:
    chosen, rejected = noise(2, 9)
    losses, gradients = [], []
    for shift in (0.0, 3.0):
        shifted = (chosen + shift).requires_grad_()
        loss = pairwise_loss(shifted, rejected + shift, 9)
        losses.append(float(loss))
        gradients.append(torch.autograd.grad(loss, shifted)[0])
    assert losses[0] == pytest.approx(losses[1], abs=1e-12)
    assert torch.allclose(gradients[0], gradients[1], atol=1e-12)


def test_49_a_pair_and_its_swap_differ_by_the_margin() -> None:
    """-ln s(m) - (-ln s(-m)) = -m, for ln s(m) - ln s(-m) = m."""
    chosen, rejected = noise(2, 9)
    difference = pairwise_loss(chosen, rejected, 9) - pairwise_loss(rejected, chosen, 9)
    assert float(difference) == pytest.approx(float((rejected - chosen).mean()), abs=1e-12)


def test_49_accuracies_of_pairs_and_of_their_swaps_add_up_to_1() -> None:
    chosen, rejected = noise(2, 40)
    assert pair_accuracy(chosen, rejected) + pair_accuracy(rejected, chosen) == pytest.approx(1.0, abs=1e-6)
    ties = torch.tensor([1.0, 1.0, 2.0])
    assert pair_accuracy(ties, torch.tensor([1.0, 1.0, 0.0])) == pytest.approx(2 / 3)


def test_49_pairs_are_chosen_then_rejected_whatever_the_groups() -> None:
    """Rows of all the responses end to end: 0 and 1 are the first group's, 2 to 4 the second's."""
    groups = [
        ComparisonGroup(Prompt("a", "", [3]), ["", ""], [[4], [5]], [(1, 0)]),
        ComparisonGroup(Prompt("b", "", [6]), ["", "", ""], [[4], [5], [7]], [(0, 2), (2, 1)]),
    ]
    assert pair_rows(groups).tolist() == [[1, 0], [2, 4], [4, 3]]


def new_head(head: Any) -> torch.Tensor:
    """[1, H] weights of `head` as a new model gets them."""
    init_heads(head, "normal")
    weight: torch.Tensor = head.weight.detach().clone()
    return weight


def test_50_new_heads_have_standard_deviation_1_over_root_d_plus_1() -> None:
    """For n draws a variance has relative standard deviation sqrt(2 / n)."""
    torch.manual_seed(1)
    head = scalar_model_of(word_tokenizer()).network.score
    weights = torch.cat([new_head(head).flatten() for _ in range(200)])
    variance, relative_error = 1 / 33, math.sqrt(2 / len(weights))
    assert float(weights.var()) == pytest.approx(variance, rel=4 * relative_error)
    assert abs(float(weights.mean())) < 4 * math.sqrt(variance / len(weights))


def test_50_random_reward_models_agree_with_any_labels_half_the_time() -> None:
    """60 heads by 20 pairs; a head's pairs are not independent, so the interval is over heads."""
    torch.manual_seed(2)
    reward_model, rollout = scalar_model_of(word_tokenizer()), random_rollout(40)
    with torch.no_grad():
        states = rollout.final_states(padded_states(reward_model.base_model, rollout.token_rows))
    heads = torch.cat([new_head(reward_model.network.score) for _ in range(60)])
    found = torch.tensor([pair_accuracy(scores[:20], scores[20:]) for scores in heads @ states.T])
    assert abs(float(found.mean()) - 0.5) < 4 * float(found.std()) / math.sqrt(len(found))
    assert float(found.std()) < 0.3


def normalised(reward_model: Any, rollout: Rollout, score_norm: Any) -> torch.Tensor:
    """Scores after normalisation on `rollout`, as the trainer does it."""
    with torch.no_grad():
        reward_model.set_affine(1.0, 0.0)
        reward_model.set_affine(*normalising_affine(response_scores(reward_model, rollout), score_norm))
        return response_scores(reward_model, rollout)


@pytest.mark.parametrize("score_norm", ["bias_on_references", "affine_on_sft_samples"])
def test_51_references_score_0_on_average_and_again_after_a_second_time(score_norm: str) -> None:
    reward_model, rollout = scalar_model_of(word_tokenizer()), random_rollout(30)
    once = normalised(reward_model, rollout, score_norm)
    affine = reward_model.affine
    assert abs(float(once.mean())) < 1e-4
    assert affine != (1.0, 0.0)
    assert torch.equal(normalised(reward_model, rollout, score_norm), once)
    assert reward_model.affine == affine
    if score_norm == "affine_on_sft_samples":
        assert float(once.std(correction=0)) == pytest.approx(1.0, abs=1e-4)


def test_51_a_normalisation_replaces_the_one_before() -> None:
    reward_model = scalar_model_of(word_tokenizer())
    for affine in ((2.0, 3.0), (1.5, -0.5)):
        reward_model.set_affine(*affine)
        assert reward_model.affine == affine


def test_51_the_bias_is_taken_off_once_however_often_a_model_is_reloaded(tmp_path: Path) -> None:
    reward_model, rollout = scalar_model_of(word_tokenizer()), random_rollout(30)
    scores = normalised(reward_model, rollout, "bias_on_references")
    for generation in range(3):
        save_model(reward_model, word_tokenizer(), tmp_path / str(generation))
        config = ModelConfig(path=str(tmp_path / str(generation)))
        reward_model = load_scalar_model(config, word_tokenizer(), CPU)
        with torch.no_grad():
            assert torch.allclose(response_scores(reward_model, rollout), scores, atol=1e-6)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_52_what_follows_eos_changes_no_score(architecture: Architecture) -> None:
    """Masked words follow, as a sampler leaves them; the longest row ends with a word, for EOS looks like padding."""
    reward_model = scalar_model_of(word_tokenizer(), architecture)
    rollout = random_rollout().rows(torch.tensor([0, 1, 3]))
    junk = torch.randint(3, 33, (len(rollout), 4), generator=torch.Generator().manual_seed(1))
    longer = Rollout(
        rollout.prompt_tokens,
        rollout.prompt_mask,
        torch.cat([rollout.response_tokens, junk], dim=1),
        torch.cat([rollout.response_mask, torch.zeros_like(junk, dtype=torch.bool)], dim=1),
        rollout.ended,
    )
    with torch.no_grad():
        assert torch.allclose(response_scores(reward_model, longer), response_scores(reward_model, rollout), atol=1e-6)


def test_52_the_score_is_the_head_at_the_state_after_eos() -> None:
    """With one forward for each row alone, without any padding."""
    reward_model, rollout = scalar_model_of(word_tokenizer()), random_rollout()
    with torch.no_grad():
        scores = response_scores(reward_model, rollout)
        for row in range(len(rollout)):
            tokens = rollout.tokens[row][rollout.mask[row]][None]
            final = reward_model.base_model(input_ids=tokens).last_hidden_state[0, -1]
            assert float(reward_model.head(final)) == pytest.approx(float(scores[row]), abs=1e-5)


def test_52_another_token_before_eos_changes_the_score() -> None:
    reward_model, rollout = scalar_model_of(word_tokenizer()), random_rollout()
    tokens = rollout.response_tokens.clone()
    tokens[:, 0] = 3 + (tokens[:, 0] - 2) % 30
    other = Rollout(rollout.prompt_tokens, rollout.prompt_mask, tokens, rollout.response_mask, rollout.ended)
    with torch.no_grad():
        differences = (response_scores(reward_model, other) - response_scores(reward_model, rollout)).abs()
    assert float(differences.min()) > 1e-5


def test_50_a_policys_backbone_gets_a_new_head(tmp_path: Path) -> None:
    """A reward model starts from the SFT policy: its backbone bit for bit, and a head of the papers' spread."""
    policy = policy_of(word_tokenizer())
    save_model(policy, word_tokenizer(), tmp_path)
    reward_model = load_scalar_model(ModelConfig(path=str(tmp_path)), word_tokenizer(), CPU)
    weights = reward_model.base_model.state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in policy.base_model.state_dict().items())
