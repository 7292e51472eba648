"""PPO's layouts: equal to separate models where they must be, the same gradients however they are computed, and the
memory that the plan says.
"""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from engine_models import ARCHITECTURES, policy_of, random_rollout, scalar_model_of
from rlhf_engine.adapters import add_adapter, backbone_hash, merged_weights
from rlhf_engine.checkpoint import save_weights
from rlhf_engine.config import Architecture, DataConfig, LoraConfig, ModelConfig, OptimizerConfig, PPOConfig
from rlhf_engine.data.examples import Prompt
from rlhf_engine.errors import ConfigError
from rlhf_engine.hooks import NoHooks
from rlhf_engine.kl_control import FixedKL
from rlhf_engine.layout_plan import plan_ppo
from rlhf_engine.layouts import load_ppo_models, own_parameters
from rlhf_engine.logprobs import response_logprobs
from rlhf_engine.optim import ScheduledAdamW
from rlhf_engine.ppo import PPOModels, PPOState, collect_experience, ppo_loss, ppo_update
from rlhf_engine.rollout import Rollout
from rlhf_engine.scalar_models import load_scalar_model, response_scores, response_values
from rlhf_engine.update_metrics import UpdateStatistics

CPU = torch.device("cpu")
HOOKS = NoHooks()
LORA = LoraConfig(rank=3, alpha=6.0)
LAYOUTS = ["separate", "shared_trunk", "adapters", "one backbone"]
"""The last: adapters, the reward model being one of them."""
PROMPTS = [Prompt(str(i), "", [3 + i, 4 + i, 5 + i][: 1 + i % 3]) for i in range(8)]


def save_roles(tokenizer: Any, folder: Path, architecture: Architecture = "llama") -> None:
    """A policy, a reward model of its own, and one that is a trained adapter on the policy's backbone."""
    save_weights(policy_of(tokenizer, architecture), tokenizer, folder / "policy")
    save_weights(scalar_model_of(tokenizer, architecture), tokenizer, folder / "rm")
    adapted = load_scalar_model(ModelConfig(path=str(folder / "policy")), tokenizer, CPU)
    add_adapter(adapted, LORA)
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.normal_(0.0, 0.1)
    save_weights(adapted, tokenizer, folder / "adapter")


def config_of(folder: Path, name: str, **changes: Any) -> PPOConfig:
    on_one = name == "one backbone"
    config = PPOConfig(
        model=ModelConfig(path=str(folder / "policy")),
        reward_model=ModelConfig(path=str(folder / ("adapter" if on_one else "rm"))),
        lora=LORA if on_one or name == "adapters" else None,
        optimizer=OptimizerConfig(lr=1e-2, schedule="constant"),
        batch_size=8,
        minibatches=2,
        ppo_epochs=2,
        micro_batch_size=3,
        rollout_batch_size=8,
        response_tokens=6,
    )
    return msgspec.structs.replace(config, layout="adapters" if on_one else name, **changes)


def models_of(tokenizer: Any, config: PPOConfig) -> PPOModels:
    torch.manual_seed(0)
    return load_ppo_models(config, tokenizer, CPU, HOOKS)


def state_of(tokenizer: Any, config: PPOConfig) -> PPOState:
    models = models_of(tokenizer, config)
    critic = own_parameters(models.value_model, models.policy)
    policy_optimizer = ScheduledAdamW(models.policy.named_parameters(), config.optimizer, 8)
    value_optimizer = ScheduledAdamW(critic.items(), config.optimizer, 8)
    return PPOState(models, policy_optimizer, value_optimizer, FixedKL(0.05), eos_id=0, pad_id=1)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_on_one_backbone_all_is_at_first_as_with_separate_models(
    tokenizer: Any, architecture: Architecture, saved: Path
) -> None:
    save_roles(tokenizer, saved, architecture)
    shared = config_of(saved, "one backbone")
    apart = msgspec.structs.replace(shared, layout="separate", lora=None)
    one, four, rollout = models_of(tokenizer, shared), models_of(tokenizer, apart), random_rollout()
    assert torch.equal(response_logprobs(one.policy, rollout), response_logprobs(four.policy, rollout))
    assert torch.equal(response_logprobs(one.ref_policy, rollout), response_logprobs(four.ref_policy, rollout))
    scores = response_scores(one.reward_model, rollout), response_scores(four.reward_model, rollout)
    assert torch.allclose(*scores, atol=1e-5)
    values = response_values(one.value_model, rollout), response_values(four.value_model, rollout)
    assert torch.allclose(*values, atol=1e-5)


def test_after_updates_the_reference_and_the_backbone_are_what_they_were(tokenizer: Any, saved: Path) -> None:
    save_roles(tokenizer, saved)
    config, rollout = config_of(saved, "one backbone"), random_rollout()
    state = state_of(tokenizer, config)
    models = state.models
    before = response_logprobs(models.ref_policy, rollout), response_scores(models.reward_model, rollout)
    hashed = backbone_hash(models.ref_policy)
    ppo_update(state, PROMPTS, config, HOOKS)
    assert torch.equal(response_logprobs(models.ref_policy, rollout), before[0])
    assert torch.equal(response_scores(models.reward_model, rollout), before[1])
    assert not torch.equal(response_logprobs(models.policy, rollout), before[0])
    assert {backbone_hash(role) for role in (models.policy, models.value_model, models.reward_model)} == {hashed}


def test_a_shared_trunk_reads_values_off_the_policys_states(tokenizer: Any, saved: Path) -> None:
    save_roles(tokenizer, saved)
    models, rollout = models_of(tokenizer, config_of(saved, "shared_trunk")), random_rollout()
    with torch.no_grad():
        models.value_model.network.score.weight.normal_()
    logprobs, values = models.logprobs_and_values(rollout, temperature=0.7)
    assert torch.equal(logprobs, response_logprobs(models.policy, rollout, temperature=0.7))
    assert torch.equal(values, response_values(models.value_model, rollout))
    assert list(own_parameters(models.value_model, models.policy)) == ["network.score.weight"]
    trunk = {parameter.data_ptr() for parameter in models.policy.parameters()}
    assert {parameter.data_ptr() for parameter in models.value_model.base_model.parameters()} <= trunk


def gradients(tokenizer: Any, config: PPOConfig, micro_batch_size: int) -> dict[str, Tensor]:
    state = state_of(tokenizer, config)
    experience = collect_experience(state, PROMPTS, config, HOOKS)
    for micro_batch in experience.micro_batches(micro_batch_size):
        ppo_loss(state.models, micro_batch, experience, config, UpdateStatistics()).backward()
    roles = {"policy": state.models.policy, "value": state.models.value_model}
    return {f"{role}.{n}": p.grad for role, m in roles.items() for n, p in m.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", LAYOUTS[1:])
@pytest.mark.parametrize("how", ["micro-batches", "checkpointing"])
def test_gradients_are_the_same_however_they_are_computed(how: str, name: str, tokenizer: Any, saved: Path) -> None:
    save_roles(tokenizer, saved)
    config = config_of(saved, name)
    plain = gradients(tokenizer, config, 8)
    if how == "checkpointing":
        changes = {
            role: msgspec.structs.replace(getattr(config, role), gradient_checkpointing=True)
            for role in ("model", "reward_model")
        }
        config = msgspec.structs.replace(config, **changes)
    other = gradients(tokenizer, config, 3 if how == "micro-batches" else 8)
    assert plain.keys() == other.keys()
    assert any(bool(gradient.any()) for gradient in plain.values())
    for parameter, gradient in plain.items():
        assert torch.allclose(gradient, other[parameter], rtol=1e-4, atol=1e-6), parameter


def distinct_bytes(tensors: list[Tensor]) -> int:
    storages = (tensor.untyped_storage() for tensor in tensors)
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


@pytest.mark.parametrize("name", LAYOUTS)
def test_weights_gradients_and_moments_are_as_planned(name: str, tokenizer: Any, saved: Path) -> None:
    save_roles(tokenizer, saved)
    config = config_of(saved, name)
    state = state_of(tokenizer, config)
    models = state.models
    roles = [models.policy, models.ref_policy, models.value_model, models.reward_model]
    weights = distinct_bytes([parameter for role in roles for parameter in role.parameters()])
    experience = collect_experience(state, PROMPTS, config, HOOKS)
    ppo_loss(models, experience, experience, config, UpdateStatistics()).backward()
    gradients = distinct_bytes([p.grad for role in roles for p in role.parameters() if p.grad is not None])
    optimizers = (state.policy_optimizer, state.value_optimizer)
    for optimizer in optimizers:
        optimizer.step()
    moments = sum(tensor.nbytes for each in optimizers for tensor in moments_of(each))
    rows = plan_ppo(config, reward_adapter=LORA if name == "one backbone" else None)
    planned = {
        kind: sum(row.bytes for row in rows if row.what.startswith(kind) and row.phase in HELD) for kind in PLANNED
    }
    assert planned == {"weights": weights, "gradients": gradients, "Adam moments": moments}


PLANNED, HELD = ("weights", "gradients", "Adam moments"), ("always", "optimizer")


def moments_of(optimizer: ScheduledAdamW) -> list[Tensor]:
    return [tensor for name, tensor in optimizer.state_tensors().items() if not name.endswith("/step")]


@pytest.mark.parametrize("name", LAYOUTS)
def test_activations_are_as_planned(name: str, tokenizer: Any, saved: Path) -> None:
    """What autograd keeps of the policy's and the critic's forward, within 10 %."""
    save_roles(tokenizer, saved)
    data = msgspec.structs.replace(DataConfig(), max_prompt_tokens=20)
    config = config_of(saved, name, data=data, response_tokens=20, micro_batch_size=4)
    models, words = models_of(tokenizer, config), [[3 + (i + row) % 20 for i in range(20)] for row in range(4)]
    rollout = Rollout.of_texts(words, words, eos_id=0, pad_id=1, device=CPU)
    rollout.prompt_mask[0, :3] = False
    weights = {p.untyped_storage().data_ptr() for role in vars(models).values() for p in role.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        models.logprobs_and_values(rollout, temperature=1.0)
    rows = plan_ppo(config, reward_adapter=LORA if name == "one backbone" else None)
    planned = sum(row.bytes for row in rows if row.phase == "forward" and row.what.startswith("activations"))
    assert planned == pytest.approx(distinct_bytes(list(kept.values())), rel=0.1)


def test_what_a_checkpoint_merges_is_as_planned(tokenizer: Any, saved: Path) -> None:
    save_roles(tokenizer, saved)
    config = config_of(saved, "adapters")
    policy = models_of(tokenizer, config).policy
    own = {parameter.untyped_storage().data_ptr() for parameter in policy.parameters()}
    weights = merged_weights(policy, policy.state_dict()).values()
    merged = [tensor for tensor in weights if tensor.untyped_storage().data_ptr() not in own]
    (planned,) = (row.bytes for row in plan_ppo(config) if row.phase == "checkpoint")
    assert planned == distinct_bytes(merged)


def test_models_of_other_attention_can_not_share_a_backbone(tokenizer: Any, saved: Path) -> None:
    save_roles(tokenizer, saved)
    config = config_of(saved, "one backbone")
    eager = msgspec.structs.replace(config.reward_model, attention="eager")
    with pytest.raises(ConfigError, match=r"reward_model\.attention: 'eager'"):
        models_of(tokenizer, msgspec.structs.replace(config, reward_model=eager))
