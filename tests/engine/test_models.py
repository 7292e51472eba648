"""Forward passes of the three families, and what a saved checkpoint means to plain transformers."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from engine_models import ARCHITECTURES, policy_of, random_rollout, scalar_model_of
from rlhf_engine.checkpoint import load_weights
from rlhf_engine.config import Architecture, ModelConfig
from rlhf_engine.data.examples import ComparisonGroup, Prompt
from rlhf_engine.errors import ConfigError
from rlhf_engine.logprobs import response_logprobs, selected_logprobs
from rlhf_engine.models import load_policy, save_model
from rlhf_engine.rollout import Rollout
from rlhf_engine.scalar_models import load_scalar_model, response_scores
from rlhf_engine.shared_prompts import group_scores, shared_prompt_batch

CPU = torch.device("cpu")


def test_chunked_logprobs_and_gradients_equal_the_full_softmax(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlhf_engine.logprobs.CHUNK_BYTES", 4 * 40 * 16)
    hidden = torch.randn(50, 8, requires_grad=True)
    weight = torch.randn(40, 8, requires_grad=True)
    targets, upstream = torch.randint(40, (50,)), torch.randn(50)
    chunked = selected_logprobs(hidden, weight, targets, 0.7)
    gradients = torch.autograd.grad((chunked * upstream).sum(), (hidden, weight))
    full = (hidden @ weight.T / 0.7).log_softmax(-1).gather(1, targets[:, None]).squeeze(1)
    expected = torch.autograd.grad((full * upstream).sum(), (hidden, weight))
    assert torch.allclose(chunked, full, atol=1e-5)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(gradients, expected, strict=True))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_responses_that_share_a_prompt_score_as_alone(tokenizer: Any, architecture: Architecture) -> None:
    scalar = scalar_model_of(tokenizer, architecture)
    groups = [
        ComparisonGroup(Prompt("a", "", [5, 6, 7]), ["", "", ""], [[8, 0], [9, 10, 11, 0], [12, 0]], [(0, 1)]),
        ComparisonGroup(Prompt("b", "", [5] * 9), ["", ""], [[13, 14, 0], [15, 0]], [(1, 0)]),
    ]
    packed = group_scores(scalar, shared_prompt_batch(groups, CPU))
    alone = [
        response_scores(scalar, Rollout.of_texts([group.prompt.tokens], [response], eos_id=0, pad_id=1, device=CPU))
        for group in groups
        for response in group.response_tokens
    ]
    assert torch.allclose(packed, torch.cat(alone), atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_saved_policy_is_the_same_model_to_plain_transformers_which_can_go_on_training(
    tokenizer: Any, architecture: Architecture, saved: Path
) -> None:
    policy, rollout = policy_of(tokenizer, architecture), random_rollout()
    save_model(policy, tokenizer, saved)
    plain = AutoModelForCausalLM.from_pretrained(saved)
    assert AutoTokenizer.from_pretrained(saved).decode([3, 4]) == "w0 w1"
    tokens = rollout.prompt_tokens[4:5][rollout.prompt_mask[4:5]][None]
    with torch.no_grad():
        assert torch.equal(plain(input_ids=tokens).logits, policy(input_ids=tokens).logits)
    plain.train()
    plain(input_ids=tokens.repeat(1, 3), labels=tokens.repeat(1, 3)).loss.backward()
    assert all(parameter.grad is not None for parameter in plain.parameters())
    again = load_policy(ModelConfig(path=str(saved)), tokenizer, CPU)
    assert torch.equal(response_logprobs(again, rollout), response_logprobs(policy, rollout))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_saved_reward_model_scores_alike_in_plain_transformers(
    tokenizer: Any, architecture: Architecture, saved: Path
) -> None:
    reward_model, rollout = scalar_model_of(tokenizer, architecture), random_rollout()
    reward_model.set_affine(2.0, -0.5)
    save_model(reward_model, tokenizer, saved)
    scores = response_scores(reward_model, rollout)
    plain = AutoModelForSequenceClassification.from_pretrained(saved, num_labels=1).eval()
    for row in range(len(rollout)):
        with torch.no_grad():
            raw = plain(input_ids=rollout.tokens[row][rollout.mask[row]][None]).logits[0, 0]
        assert torch.allclose(2.0 * raw - 0.5, scores[row], atol=1e-5)
    again = load_scalar_model(ModelConfig(path=str(saved)), tokenizer, CPU)
    assert again.affine == (2.0, -0.5)
    assert torch.allclose(response_scores(again, rollout), scores, atol=1e-6)


def test_weights_return_bit_for_bit_and_foreign_ones_are_refused(tokenizer: Any, saved: Path) -> None:
    policy, other = policy_of(tokenizer), policy_of(tokenizer)
    save_model(policy, tokenizer, saved)
    load_weights(other, saved)
    assert all(torch.equal(a, b) for a, b in zip(policy.parameters(), other.parameters(), strict=True))
    with pytest.raises(ConfigError, match="doesn't fit"):
        load_weights(policy_of(tokenizer, "gpt2"), saved)


def test_a_checkpoint_of_another_architecture_is_refused(tokenizer: Any, saved: Path) -> None:
    save_model(policy_of(tokenizer, "gpt_neox"), tokenizer, saved)
    config = json.loads((saved / "config.json").read_text())
    config |= {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "num_key_value_heads": 4}
    (saved / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="another architecture"):
        load_policy(ModelConfig(path=str(saved)), tokenizer, CPU)


def test_new_scalar_head_has_the_papers_spread_or_is_zero(tokenizer: Any, saved: Path) -> None:
    save_model(policy_of(tokenizer), tokenizer, saved)
    config = ModelConfig(path=str(saved))
    heads = [load_scalar_model(config, tokenizer, CPU).network.score.weight for _ in range(60)]
    assert abs(float(torch.cat(heads).std()) - 33**-0.5) < 0.01
    zero = load_scalar_model(config, tokenizer, CPU, head_init="zero")
    assert torch.equal(response_scores(zero, random_rollout()), torch.zeros(5))
