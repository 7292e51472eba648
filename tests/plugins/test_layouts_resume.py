"""Adapters and layouts as runs: stages hand adapters on, only what is trained changes, runs resume bit for bit."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from transformers import AutoModelForCausalLM

from rlhf_engine.adapters import FOLDER, backbone_hash
from rlhf_engine.config import LoraConfig, ModelConfig, PPOConfig
from rlhf_plugins.engine_trainer import EngineTrainer
from rlhf_plugins.ppo.trainer import PPOTrainer
from rlhf_plugins.rm.trainer import RewardModelTrainer
from rlhf_plugins.sft.trainer import SFTTrainer
from rlhf_sdk.trainer import UserError
from test_trainers_resume import LR, SFT, rm_config, started, steps, world

LORA = LoraConfig(rank=4, alpha=8.0)


@pytest.fixture(scope="module")
def sft(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(SFTTrainer(), SFT, tmp_path_factory.mktemp("sft"))


@pytest.fixture(scope="module")
def full_rm(sft: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(RewardModelTrainer(), rm_config(sft), tmp_path_factory.mktemp("rm"))


@pytest.fixture(scope="module")
def adapter_rm(sft: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = msgspec.structs.replace(rm_config(sft), lora=LORA)
    return trained(RewardModelTrainer(), config, tmp_path_factory.mktemp("adapter_rm"))


def trained(trainer: EngineTrainer, config: Any, directory: Path) -> Path:
    """The model that two steps leave behind."""
    started(trainer, config, directory / "run")
    steps(trainer, 2)
    trainer.finish()  # type: ignore[attr-defined]
    trainer.save(directory)
    return directory / "model"


def ppo_config(sft: Path, rm: Path, **changes: Any) -> PPOConfig:
    config = PPOConfig(
        model=ModelConfig(path=str(sft)),
        reward_model=ModelConfig(path=str(rm)),
        optimizer=LR,
        data=world(6, 32),
        total_episodes=64,
        batch_size=8,
        minibatches=2,
        ppo_epochs=2,
        micro_batch_size=4,
        response_tokens=12,
        temperature=1.0,
    )
    return msgspec.structs.replace(config, **changes)


def trained_tensors(trainer: EngineTrainer) -> list[torch.Tensor]:
    models = [parameter for model in trainer.models.values() for parameter in model.parameters()]
    parts = [parameter for part in trainer.parts.values() for parameter in part.values()]
    return [parameter.detach().clone() for parameter in [*models, *parts]]


def assert_resumed_equals_straight(new: type[EngineTrainer], config: Any, directory: Path) -> None:
    straight, _ = started(new(), config, directory / "run")
    before = steps(straight, 2)
    straight.save(directory / "checkpoint")
    after = steps(straight, 2)
    resumed, _ = started(new(), config, directory / "run")
    torch.rand(7)
    resumed.load(directory / "checkpoint")
    assert steps(resumed, 2) == after != before
    pairs = zip(trained_tensors(straight), trained_tensors(resumed), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_sft_with_an_adapter_resumes_bit_for_bit(sft: Path, tmp_path: Path) -> None:
    config = msgspec.structs.replace(SFT, model=ModelConfig(path=str(sft)), lora=LORA)
    assert_resumed_equals_straight(SFTTrainer, config, tmp_path)


def test_a_reward_model_with_an_adapter_resumes_bit_for_bit(sft: Path, tmp_path: Path) -> None:
    assert_resumed_equals_straight(RewardModelTrainer, msgspec.structs.replace(rm_config(sft), lora=LORA), tmp_path)


@pytest.mark.parametrize("layout", ["separate", "shared_trunk", "adapters"])
def test_ppo_resumes_bit_for_bit_in_every_layout(layout: str, sft: Path, full_rm: Path, tmp_path: Path) -> None:
    assert_resumed_equals_straight(PPOTrainer, ppo_config(sft, full_rm, layout=layout), tmp_path)


def test_ppo_on_one_backbone_resumes_bit_for_bit(sft: Path, adapter_rm: Path, tmp_path: Path) -> None:
    config = ppo_config(sft, adapter_rm, layout="adapters", lora=LORA)
    assert_resumed_equals_straight(PPOTrainer, config, tmp_path)


def test_on_one_backbone_ppo_changes_adapters_and_the_critics_head_alone(
    sft: Path, adapter_rm: Path, tmp_path: Path
) -> None:
    trainer, run = started(PPOTrainer(), ppo_config(sft, adapter_rm, layout="adapters"), tmp_path / "run")
    assert isinstance(trainer, PPOTrainer)
    models = trainer.state.models
    roles = [models.policy, models.ref_policy, models.value_model, models.reward_model]
    assert len({backbone_hash(role) for role in roles}) == 1
    hashed = backbone_hash(models.policy)
    before = [{name: p.detach().clone() for name, p in role.named_parameters()} for role in roles]
    steps(trainer, 1)
    changed = [
        {name for name, p in role.named_parameters() if not torch.equal(p, old[name])}
        for old, role in zip(before, roles, strict=True)
    ]
    assert {backbone_hash(role) for role in roles} == {hashed}
    assert changed[1] == changed[3] == set()
    assert changed[0] and all(".lora_" in name for name in changed[0])
    assert "network.score.weight" in changed[2]
    assert all(".lora_" in name for name in changed[2] - {"network.score.weight"})
    assert run.checks["kl_before_first_update"] == "ok"


def test_a_tuned_adapter_is_handed_on_merged(sft: Path, adapter_rm: Path, tmp_path: Path) -> None:
    trainer, _ = started(PPOTrainer(), ppo_config(sft, adapter_rm, layout="adapters"), tmp_path / "run")
    steps(trainer, 2)
    trainer.save(tmp_path / "checkpoint")
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "checkpoint" / "model")
    assert isinstance(trainer, PPOTrainer)
    tokens = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        ours, theirs = trainer.state.models.policy(tokens).logits, merged(tokens).logits
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert (tmp_path / "checkpoint" / "model" / FOLDER / "adapter_config.json").is_file()


def test_adapters_are_refused_where_the_layout_has_none(sft: Path, full_rm: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match='lora: layout = "separate" has no adapters'):
        started(PPOTrainer(), ppo_config(sft, full_rm, lora=LORA), tmp_path / "run")


def test_models_with_other_tokenizers_are_refused(sft: Path, full_rm: Path, tmp_path: Path) -> None:
    other = msgspec.structs.replace(SFT, tokenizer=msgspec.structs.replace(SFT.tokenizer, word_level_split=False))
    model = trained(SFTTrainer(), other, tmp_path / "other")
    with pytest.raises(UserError, match="another tokenizer"):
        started(PPOTrainer(), ppo_config(model, full_rm, layout="adapters"), tmp_path / "run")
