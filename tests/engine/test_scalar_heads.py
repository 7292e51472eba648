"""Heads of reward models: gradients, packing, and what a checkpoint keeps of them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from engine_models import ARCHITECTURES, policy_of, random_rollout, small_model
from rlhf_engine.checkpoint import load_weights
from rlhf_engine.config import Architecture, ModelConfig, OptimizerConfig
from rlhf_engine.data.examples import ComparisonGroup, Prompt
from rlhf_engine.errors import ConfigError
from rlhf_engine.hooks import NoHooks
from rlhf_engine.models import compute_precision, save_model
from rlhf_engine.optim import ScheduledAdamW
from rlhf_engine.reward_modeling import (
    RewardModelState,
    bootstrap_weights,
    centring_offsets,
    reward_model_update,
    score_groups,
)
from rlhf_engine.rollout import Rollout
from rlhf_engine.scalar_heads import HeadShape, disagreement, ensemble_scores
from rlhf_engine.scalar_models import (
    ScalarModel,
    load_scalar_model,
    response_head_scores,
    response_scores,
    response_values,
)
from rlhf_engine.shared_prompts import group_head_scores, shared_prompt_batch
from rlhf_engine.trunk import padded_states

CPU = torch.device("cpu")
SHAPES = [HeadShape(), HeadShape(count=3), HeadShape("mlp"), HeadShape("linear", "mean"), HeadShape("mlp", "mean", 2)]
GROUPS = [
    ComparisonGroup(Prompt("a", "", [5, 6, 7]), ["", "", ""], [[8, 0], [9, 10, 11, 0], [12, 0]], [(0, 1), (2, 0)]),
    ComparisonGroup(Prompt("b", "", [5] * 9), ["", ""], [[13, 14, 0], [15, 0]], [(1, 0)]),
]


def reward_model_of(
    tokenizer: Any, shape: HeadShape, architecture: Architecture = "llama", **options: Any
) -> ScalarModel:
    return load_scalar_model(small_model(architecture), tokenizer, CPU, head_shape=shape, **options)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_heads_survive_saving(tokenizer: Any, shape: HeadShape, architecture: Architecture, saved: Path) -> None:
    reward_model, rollout = reward_model_of(tokenizer, shape, architecture), random_rollout()
    reward_model.set_affine(2.0, -0.5, head_offsets=[0.1 * i for i in range(shape.count)], score_norm="none")
    save_model(reward_model, tokenizer, saved)
    again = load_scalar_model(ModelConfig(path=str(saved)), tokenizer, CPU)
    assert again.head_shape == shape
    assert again.score_norm == "none"
    assert torch.allclose(response_head_scores(again, rollout), response_head_scores(reward_model, rollout), atol=1e-5)
    other = reward_model_of(tokenizer, shape, architecture)
    load_weights(other, saved)
    assert torch.equal(other.network.score(torch.ones(32)), reward_model.network.score(torch.ones(32)))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_responses_behind_a_shared_prompt_score_as_alone(
    tokenizer: Any, shape: HeadShape, architecture: Architecture
) -> None:
    reward_model = reward_model_of(tokenizer, shape, architecture)
    packed = group_head_scores(reward_model, shared_prompt_batch(GROUPS, CPU))
    alone = [
        response_head_scores(
            reward_model, Rollout.of_texts([group.prompt.tokens], [response], eos_id=0, pad_id=1, device=CPU)
        )
        for group in GROUPS
        for response in group.response_tokens
    ]
    assert packed.shape == (5, shape.count)
    assert torch.allclose(packed, torch.cat(alone), atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_scores_do_not_depend_on_padding_or_what_stands_in_it(tokenizer: Any, shape: HeadShape) -> None:
    reward_model, rollout = reward_model_of(tokenizer, shape), random_rollout()
    scores = response_scores(reward_model, rollout)
    for row in range(len(rollout)):
        assert torch.allclose(
            response_scores(reward_model, rollout.rows(torch.tensor([row])))[0], scores[row], atol=1e-5
        )
    junk = Rollout(
        rollout.prompt_tokens, rollout.prompt_mask, rollout.response_tokens.masked_fill(~rollout.response_mask, 17),
        rollout.response_mask, rollout.ended,
    )  # fmt: skip
    assert torch.equal(response_scores(reward_model, junk), scores)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_head_and_the_backbone_get_gradients_and_learn_the_labels(tokenizer: Any, shape: HeadShape) -> None:
    reward_model = reward_model_of(tokenizer, shape, head_init="zero")
    assert torch.equal(response_scores(reward_model, random_rollout()), torch.zeros(5))
    optimizer = ScheduledAdamW(
        reward_model.named_parameters(), OptimizerConfig(lr=3e-2, schedule="constant"), total_steps=30
    )
    state = RewardModelState(reward_model, optimizer)
    before = {name: parameter.detach().clone() for name, parameter in reward_model.named_parameters()}
    losses = [
        reward_model_update(state, GROUPS, micro_batch_size=1, compute="float32", hooks=NoHooks()).loss
        for _ in range(30)
    ]
    assert losses[0] == pytest.approx(0.6931472, abs=1e-6)
    assert losses[-1] < 0.1
    assert all(not torch.equal(before[name], parameter) for name, parameter in reward_model.named_parameters())


def test_plain_transformers_reads_an_ensemble_as_labels_and_refuses_other_heads(tokenizer: Any, saved: Path) -> None:
    ensemble, rollout = reward_model_of(tokenizer, HeadShape(count=3)), random_rollout()
    save_model(ensemble, tokenizer, saved)
    plain = AutoModelForSequenceClassification.from_pretrained(saved).eval()
    with torch.no_grad():
        labels = plain(input_ids=rollout.tokens[3][rollout.mask[3]][None]).logits[0]
    assert torch.allclose(labels, response_head_scores(ensemble, rollout)[3], atol=1e-5)
    for shape in SHAPES[2:]:
        save_model(reward_model_of(tokenizer, shape), tokenizer, saved)
        with pytest.raises(RuntimeError, match="size"):
            AutoModelForSequenceClassification.from_pretrained(saved)


def test_a_reward_model_keeps_its_heads_and_a_policy_gets_the_ones_asked_for(tokenizer: Any, saved: Path) -> None:
    reward_model = reward_model_of(tokenizer, HeadShape("mlp"))
    reward_model.set_affine(1.0, 0.0)
    save_model(reward_model, tokenizer, saved)
    with pytest.raises(ConfigError, match="1 mlp head on the last state, but 2 linear heads"):
        load_scalar_model(ModelConfig(path=str(saved)), tokenizer, CPU, head_shape=HeadShape(count=2))
    save_model(policy_of(tokenizer), tokenizer, saved / "policy")
    model = load_scalar_model(
        ModelConfig(path=str(saved / "policy")), tokenizer, CPU, head_shape=HeadShape("mlp", count=2)
    )
    weight, output = model.network.score.weight, model.network.score.output
    assert abs(float(weight.detach().std()) - 33**-0.5) < 0.02
    assert torch.equal(model.network.score.bias, torch.zeros(2, 32))
    assert bool((output[0] != output[1]).all())


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_a_critic_reads_its_head_at_every_state_and_never_pools(tokenizer: Any, kind: Any) -> None:
    """With last-token heads V of the whole response is its score; pooled linear heads average to it."""
    rollout = random_rollout()
    last, mean = (reward_model_of(tokenizer, HeadShape(kind, pooling, 2)) for pooling in ("last", "mean"))
    for model in (last, mean):
        states = rollout.acting_states(padded_states(model.base_model, rollout.token_rows))
        expected = model.network.score(states).mean(dim=-1)
        assert torch.allclose(
            response_values(model, rollout)[rollout.response_mask], expected[rollout.response_mask], atol=1e-5
        )
    finals = last.head(rollout.final_states(padded_states(last.base_model, rollout.token_rows)))
    assert torch.allclose(finals, response_scores(last, rollout), atol=1e-5)
    if kind == "linear":
        after = mean.head(rollout.response_states(padded_states(mean.base_model, rollout.token_rows)))
        means = [row[valid].mean() for row, valid in zip(after, rollout.response_mask, strict=True)]
        assert torch.allclose(torch.stack(means), response_scores(mean, rollout), atol=1e-5)


def test_an_ensemble_of_equal_heads_agrees_and_scores_as_one(tokenizer: Any) -> None:
    ensemble, rollout = reward_model_of(tokenizer, HeadShape(count=4)), random_rollout()
    with torch.no_grad():
        ensemble.network.score.weight[:] = ensemble.network.score.weight[0]
    head_scores = response_head_scores(ensemble, rollout)
    assert torch.allclose(disagreement(head_scores), torch.zeros(5), atol=1e-6)
    assert torch.allclose(ensemble_scores(head_scores, penalty=5.0), head_scores[:, 0], atol=1e-5)


def test_the_ensembles_score_is_the_mean_less_k_standard_deviations() -> None:
    head_scores = torch.tensor([[1.0, 3.0], [2.0, 2.0]])
    assert ensemble_scores(head_scores, penalty=0.5).tolist() == [1.5, 2.0]


def test_centred_heads_have_one_mean_and_the_ensembles_stays(tokenizer: Any) -> None:
    ensemble, rollout = reward_model_of(tokenizer, HeadShape(count=3)), random_rollout()
    raw = response_head_scores(ensemble, rollout)
    ensemble.set_affine(1.0, 0.0, head_offsets=centring_offsets(raw.detach()))
    centred = response_head_scores(ensemble, rollout)
    assert torch.allclose(centred.mean(dim=0), raw.mean().expand(3), atol=1e-5)
    assert torch.allclose(centred.mean(dim=1), raw.mean(dim=1), atol=1e-5)


def test_bootstrap_weights_are_independent_poisson_draws_kept_by_row() -> None:
    weights = bootstrap_weights(range(4000), 3, seed=5)
    assert weights.mean(dim=0).sub(1).abs().max() < 0.06
    assert weights.var(dim=0).sub(1).abs().max() < 0.1
    assert torch.corrcoef(weights.T).triu(diagonal=1).abs().max() < 0.06
    assert torch.equal(bootstrap_weights([17, 3], 3, seed=5), weights[[17, 3]])
    assert not torch.equal(bootstrap_weights(range(50), 3, seed=6), weights[:50])
    assert torch.equal(bootstrap_weights([17, 3], 1, seed=5), torch.ones(2, 1))


def test_a_weight_of_two_counts_a_group_twice_and_none_leaves_it_out(tokenizer: Any) -> None:
    def after(groups: list[ComparisonGroup], weights: list[float]) -> torch.Tensor:
        torch.manual_seed(0)
        model = reward_model_of(tokenizer, HeadShape())
        optimizer = ScheduledAdamW(model.named_parameters(), OptimizerConfig(lr=1e-2, eps=1e-12), total_steps=4)
        reward_model_update(
            RewardModelState(model, optimizer), groups, micro_batch_size=1, compute="float32", hooks=NoHooks(),
            weights=torch.tensor(weights).unsqueeze(-1),
        )  # fmt: skip
        return torch.tensor(score_groups(model, GROUPS[:1], micro_batch_size=1, compute="float32", hooks=NoHooks()))

    # Adam's first step is blind to the loss's scale, so that dividing by more pairs changes nothing.
    first, second = GROUPS
    assert torch.allclose(after([first, second], [2.0, 0.0]), after([first], [1.0]), atol=1e-4)
    assert not torch.allclose(after([first, second], [1.0, 1.0]), after([first], [1.0]), atol=1e-4)


def test_scores_stay_fp32_where_matrix_products_run_in_bf16(tokenizer: Any) -> None:
    reward_model = reward_model_of(tokenizer, HeadShape())
    with compute_precision(CPU, "bfloat16"):
        scores = response_scores(reward_model, random_rollout())
    assert scores.dtype == torch.float32
    assert bool((scores.bfloat16().float() != scores).any())
