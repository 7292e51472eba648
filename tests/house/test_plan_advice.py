"""Advice beside a plan: every figure that it names is what the plan of the changed config says."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rlhf_engine.config import EvalConfig, ModelConfig, PPOConfig, RMConfig, SFTConfig
from rlhf_plugins.pipeline import PipelineConfig
from rlhf_plugins.pipeline_plan import plan_pipeline
from rlhf_plugins.plan_advice import advise
from rlhf_plugins.plans import plan_eval, plan_ppo
from rlhf_sdk.planning import AdviceRequest, PlanAdvice, PlanDevice

GPT2 = ModelConfig(path="gpt2")
PPO = PPOConfig(model=GPT2, reward_model=GPT2)
GPU = PlanDevice(memory=20 * 2**30, float32_flops=1e13, bfloat16_flops=1e14, bandwidth=1e12)


def advice_on(plugin: str, config: Any, device: PlanDevice = GPU, **more: Any) -> PlanAdvice:
    return advise(AdviceRequest(plugin=plugin, config=config, device=device, **more))


def test_a_switch_leaves_the_peak_that_the_plan_of_its_settings_has() -> None:
    found = {tuple(switch.settings): switch for switch in advice_on("ppo", PPO).switches}
    before = plan_ppo(PPO)[-1].bytes
    changes: dict[tuple[str, ...], PPOConfig] = {
        ("ppo.layout=adapters",): msgspec.structs.replace(PPO, layout="adapters"),
        ("ppo.micro_batch_size=8",): msgspec.structs.replace(PPO, micro_batch_size=8),
        (
            "ppo.model.gradient_checkpointing=true",
            "ppo.reward_model.gradient_checkpointing=true",
        ): msgspec.structs.replace(
            PPO,
            model=ModelConfig(path="gpt2", gradient_checkpointing=True),
            reward_model=ModelConfig(path="gpt2", gradient_checkpointing=True),
        ),
    }
    for settings, config in changes.items():
        after = plan_ppo(config)[-1]
        switch = found[settings]
        assert (switch.peak, switch.phase, switch.saved) == (after.bytes, after.phase, before - after.bytes)


def test_switches_save_something_the_best_first() -> None:
    saved = [switch.saved for switch in advice_on("ppo", PPO).switches]
    assert all(first >= second > 0 for first, second in pairwise(saved))


def test_only_what_can_be_switched_is_offered() -> None:
    checkpointed = ModelConfig(path="gpt2", gradient_checkpointing=True)
    config = SFTConfig(model=checkpointed)
    keys = {setting.partition("=")[0] for switch in advice_on("sft", config).switches for setting in switch.settings}
    assert keys == {"sft.lora.rank", "sft.micro_batch_size", "sft.precision.compute"}
    without_bf16 = msgspec.structs.replace(GPU, bfloat16_flops=None)
    offered = [setting for switch in advice_on("sft", config, without_bf16).switches for setting in switch.settings]
    assert "sft.precision.compute=bfloat16" not in offered


def test_the_largest_micro_batch_fits_and_one_more_row_does_not() -> None:
    (batch,) = advice_on("ppo", PPO).largest
    assert (batch.key, batch.configured, batch.useful) == ("ppo.micro_batch_size", 16, 512)
    fitting, too_large = (msgspec.structs.replace(PPO, micro_batch_size=batch.largest + more) for more in (0, 1))
    assert plan_ppo(fitting)[-1].bytes <= GPU.memory < plan_ppo(too_large)[-1].bytes


@pytest.mark.parametrize(("memory", "largest"), [(2**30, 0), (2**50, 512)])
def test_no_micro_batch_fits_or_the_whole_minibatch_does(memory: int, largest: int) -> None:
    (batch,) = advice_on("ppo", PPO, PlanDevice(memory=memory)).largest
    assert batch.largest == largest


def test_floors_need_rates_and_a_number_of_steps_is_known_where_the_config_says() -> None:
    assert advice_on("ppo", PPO, PlanDevice(memory=2**40)).floors == []
    (ppo,) = advice_on("ppo", PPO).floors
    (rm,) = advice_on("rm", RMConfig(model=GPT2)).floors
    assert (ppo.steps, rm.steps) == (1_000_000 // 512, None)
    assert [floor.phase for floor in rm.phases] == ["forward", "backward", "optimizer"]
    assert advice_on("eval", EvalConfig(policies={"sft": "gpt2"})).floors == []


STAGES = {
    "sft": {"plugin": "sft", "config": {"model": {"path": "gpt2"}}},
    "rm": {"plugin": "rm", "config": {"model": {"path": "stage:sft"}, "head": "mlp", "score_norm": "none"}},
    "ppo": {"plugin": "ppo", "config": {"model": {"path": "stage:sft"}, "reward_model": {"path": "stage:rm"}}},
}


def test_one_stage_alone_is_planned_as_within_its_pipeline() -> None:
    linked = PPOConfig(model=ModelConfig(path="stage:sft"), reward_model=ModelConfig(path="stage:rm"))
    rows = advice_on("ppo", linked, stages=STAGES).rows
    whole = plan_pipeline(msgspec.convert({"stages": STAGES}, PipelineConfig))
    assert [(row.what, f"ppo: {row.phase}", row.bytes) for row in rows[:-1]] == [
        (row.what, row.phase, row.bytes) for row in whole if row.phase.startswith("ppo: ") and row.what != "peak"
    ]
    assert rows[-1].bytes == whole[-1].bytes


def test_in_a_pipeline_a_switch_saves_what_it_takes_off_the_largest_stage() -> None:
    config = msgspec.convert({"stages": STAGES}, PipelineConfig)
    found = advice_on("pipeline", config)
    before = plan_pipeline(config)[-1]
    assert {switch.saved + switch.peak for switch in found.switches} == {before.bytes}
    assert {setting.partition(".")[0] for switch in found.switches for setting in switch.settings} == {"ppo"}
    assert [batch.key for batch in found.largest] == [f"{stage}.micro_batch_size" for stage in STAGES]


def test_a_reward_models_own_file_says_which_heads_it_has(tmp_path: Path) -> None:
    """Four heads, each of a hidden layer with bias and an output; one linear head where the file says nothing."""
    sizes = {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 64, "vocab_size": 101}
    peaks = []
    for heads in ({}, {"score_head": "mlp", "score_heads": 4}):
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"} | sizes | heads))
        rows = plan_eval(EvalConfig(policies={"sft": "gpt2"}, reward_model=str(tmp_path)))
        peaks.append(rows[-1].bytes)
    assert peaks[1] - peaks[0] == 4 * (4 * (64 * 64 + 64 + 64) - 64)
