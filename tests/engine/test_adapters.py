"""Adapters: off they are the backbone, merged they are themselves, saved they come back; peft agrees."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from engine_models import ARCHITECTURES, policy_of, random_rollout, scalar_model_of
from rlhf_engine.adapters import FOLDER, adapted_backbone, adapter_parameters, add_adapter, backbone_hash, shared_copy
from rlhf_engine.checkpoint import load_weights, save_weights
from rlhf_engine.config import Architecture, LoraConfig, ModelConfig
from rlhf_engine.errors import ConfigError
from rlhf_engine.logprobs import response_logprobs
from rlhf_engine.models import backbone_of, load_policy
from rlhf_engine.scalar_models import load_scalar_model, response_scores

CPU = torch.device("cpu")
LORA = LoraConfig(rank=3, alpha=6.0)


@torch.no_grad()
def trained(model: Any) -> Any:
    """With random numbers where training would have left some."""
    for parameter in adapter_parameters(model).values():
        parameter.normal_(0.0, 0.1)
    return model


def adapted(model: Any) -> Any:
    add_adapter(model, LORA)
    return trained(model)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_new_adapter_changes_no_bit(tokenizer: Any, architecture: Architecture) -> None:
    policy, rollout = policy_of(tokenizer, architecture), random_rollout()
    before = response_logprobs(policy, rollout)
    add_adapter(policy, LORA)
    assert torch.equal(response_logprobs(policy, rollout), before)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_layer_is_w_plus_scaled_b_a(tokenizer: Any, architecture: Architecture) -> None:
    """Closed form, on whichever layer comes first."""
    policy = adapted(policy_of(tokenizer, architecture))
    layer: Any = next(module for module in policy.modules() if hasattr(module, "lora_A") and hasattr(module, "weight"))
    x = torch.randn(5, layer.in_features)
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    assert torch.allclose(layer(x) - layer.base_layer(x), 2.0 * x @ a.T @ b.T, atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_shared_copy_has_the_same_tensors_and_its_own_adapter(tokenizer: Any, architecture: Architecture) -> None:
    backbone, rollout = policy_of(tokenizer, architecture), random_rollout()
    before, hashed = response_logprobs(backbone, rollout), backbone_hash(backbone)
    other = adapted(shared_copy(backbone, backbone_of(backbone)))
    shared = {parameter.data_ptr() for parameter in backbone_of(backbone).parameters()}
    base = [p for n, p in backbone_of(other).named_parameters() if ".lora_" not in n]
    assert {parameter.data_ptr() for parameter in base} == shared
    assert torch.equal(response_logprobs(backbone, rollout), before)
    assert (response_logprobs(other, rollout) - before).abs().max() > 0.01
    assert backbone_hash(other) == hashed


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_merged_policy_loads_in_plain_transformers_and_by_peft(
    tokenizer: Any, architecture: Architecture, saved: Path
) -> None:
    policy, rollout = policy_of(tokenizer, architecture), random_rollout()
    save_weights(policy, tokenizer, saved / "base")
    adapted(policy)
    save_weights(policy, tokenizer, saved / "tuned")
    expected = response_logprobs(policy, rollout)
    merged = AutoModelForCausalLM.from_pretrained(saved / "tuned")
    assert not any("lora" in name for name, _ in merged.named_parameters())
    assert torch.allclose(response_logprobs(merged, rollout), expected, atol=1e-5)
    ours = load_policy(ModelConfig(path=str(saved / "tuned")), tokenizer, CPU)
    assert torch.allclose(response_logprobs(ours, rollout), expected, atol=1e-5)
    base = AutoModelForCausalLM.from_pretrained(saved / "base")
    by_peft = PeftModel.from_pretrained(base, str(saved / "tuned" / FOLDER)).get_base_model()
    assert torch.equal(response_logprobs(by_peft, rollout), expected)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_merged_reward_model_scores_as_its_adapter_does(
    tokenizer: Any, architecture: Architecture, saved: Path
) -> None:
    reward_model, rollout = scalar_model_of(tokenizer, architecture), random_rollout()
    save_weights(reward_model, tokenizer, saved / "base")
    backbone = backbone_hash(reward_model)
    adapted(reward_model).set_affine(2.0, -0.5)
    save_weights(reward_model, tokenizer, saved / "tuned")
    expected = response_scores(reward_model, rollout)
    merged = load_scalar_model(ModelConfig(path=str(saved / "tuned")), tokenizer, CPU)
    assert torch.allclose(response_scores(merged, rollout), expected, atol=1e-5)
    assert adapted_backbone(merged) == backbone
    base = AutoModelForSequenceClassification.from_pretrained(saved / "base", num_labels=1)
    by_peft = PeftModel.from_pretrained(base, str(saved / "tuned" / FOLDER))
    tokens = torch.tensor([[5, 6, 7, 0]])
    assert torch.allclose(by_peft(input_ids=tokens).logits, reward_model.network(input_ids=tokens).logits, atol=1e-6)


def test_a_checkpoint_of_an_adapter_comes_back_bit_for_bit(tokenizer: Any, saved: Path) -> None:
    policy, rollout = adapted(policy_of(tokenizer)), random_rollout()
    save_weights(policy, tokenizer, saved)
    expected = response_logprobs(policy, rollout)
    trained(policy)
    load_weights(policy, saved)
    assert torch.equal(response_logprobs(policy, rollout), expected)


def test_an_adapter_of_other_targets_does_not_fit(tokenizer: Any, saved: Path) -> None:
    save_weights(adapted(policy_of(tokenizer)), tokenizer, saved)
    other = policy_of(tokenizer)
    add_adapter(other, LoraConfig(targets=["q_proj"]))
    with pytest.raises(ConfigError, match="unknown"):
        load_weights(other, saved)


def test_only_adapters_and_the_scalar_head_are_trained(tokenizer: Any) -> None:
    policy, reward_model = policy_of(tokenizer), scalar_model_of(tokenizer)
    add_adapter(policy, LoraConfig(rank=4, targets=["q_proj", "v_proj"]))
    add_adapter(reward_model, LORA)
    trainable = {name for name, parameter in policy.named_parameters() if parameter.requires_grad}
    assert len(trainable) == 2 * 2 * 2
    assert all("q_proj.lora_" in name or "v_proj.lora_" in name for name in trainable)
    others = {name for name, p in reward_model.named_parameters() if p.requires_grad and ".lora_" not in name}
    assert others == {"network.score.weight"}


def test_an_unknown_target_is_named_with_the_nearest(tokenizer: Any) -> None:
    with pytest.raises(ConfigError, match=r"lora\.targets: 'q_porj'.*Did you mean 'q_proj'"):
        add_adapter(policy_of(tokenizer), LoraConfig(targets=["q_porj"]))
