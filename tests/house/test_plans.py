"""Plans of runs and pipelines: models named as stages or runs are looked up before the arithmetic."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from rlhf_engine.config import EvalConfig, ModelConfig, PPOConfig, ProbeConfig, SFTConfig
from rlhf_plugins.pipeline_plan import plan_pipeline
from rlhf_plugins.plans import plan_eval, plan_ppo, plan_sft
from rlhf_sdk.trainer import UserError


@dataclass
class Stage:
    plugin: str
    config: dict[str, Any]


@dataclass
class Pipeline:
    stages: dict[str, Stage]
    reuse: dict[str, str] = field(default_factory=dict)


TOKENIZER = {"train_vocab_size": 512}
SFT = {"tokenizer": TOKENIZER, "model": {"init": {"hidden_size": 64, "layers": 2}}}
RM = {"tokenizer": TOKENIZER, "model": {"path": "stage:sft"}, "score_norm": "none"}
PPO = {"model": {"path": "stage:sft"}, "reward_model": {"path": "stage:rm"}}
EVAL = {"policies": {"sft": "stage:sft", "ppo": "stage:ppo"}, "reward_model": "stage:rm"}
PIPELINE = Pipeline(
    {"sft": Stage("sft", SFT), "rm": Stage("rm", RM), "ppo": Stage("ppo", PPO), "eval": Stage("eval", EVAL)}
)


def test_a_pipeline_follows_its_links_back_to_the_model_from_scratch() -> None:
    weights = {(row.what, row.phase): row.bytes for row in plan_pipeline(PIPELINE) if row.what.startswith("weights")}
    assert weights["weights: policy", "ppo: always"] == weights["weights: policy", "sft: always"]
    assert weights["weights: reward_model", "ppo: always"] == weights["weights: reward_model", "rm: always"]
    assert weights["weights: another policy", "eval: always"] == weights["weights: policy", "ppo: always"]
    assert weights["weights: reward_model", "eval: always"] == weights["weights: reward_model", "rm: always"]


def test_a_pipelines_critic_has_the_heads_of_its_reward_model() -> None:
    """Three MLP heads: hidden layer, bias and output each, where a linear head has one row."""
    stages = PIPELINE.stages | {"rm": Stage("rm", RM | {"head": "mlp", "heads": 3})}
    plain, with_heads = (
        {(row.what, row.phase): row.bytes for row in plan_pipeline(pipeline)}
        for pipeline in (PIPELINE, Pipeline(stages))
    )
    for key in [("weights: value_model", "ppo: always"), ("weights: reward_model", "eval: always")]:
        assert with_heads[key] - plain[key] == 4 * (3 * (64 * 64 + 64 + 64) - 64)


def test_the_probes_own_reward_model_is_counted_wherever_it_comes_from() -> None:
    """Three MLP heads more than the model that PPO maximises; the probe's busiest moment is a phase of its own."""
    second = Stage("rm", RM | {"head": "mlp", "heads": 3})
    probed = PPO | {"probe": {"every": 2, "reward_model": "stage:second"}}
    pipeline = Pipeline(PIPELINE.stages | {"second": second, "ppo": Stage("ppo", probed)})
    rows = {(row.what, row.phase): row.bytes for row in plan_pipeline(pipeline)}
    extra = rows["weights: second reward model", "ppo: always"] - rows["weights: reward_model", "ppo: always"]
    assert extra == 4 * (3 * (64 * 64 + 64 + 64) - 64)
    assert any(phase == "ppo: probe" for _, phase in rows)
    off = Pipeline(pipeline.stages | {"ppo": Stage("ppo", PPO | {"probe": {"reward_model": "stage:second"}})})
    assert not any("second" in row.what or row.phase == "ppo: probe" for row in plan_pipeline(off))


def test_a_probes_reward_model_by_size_adds_its_weights_to_every_phase() -> None:
    gpt2, probes = ModelConfig(path="gpt2"), (ProbeConfig(every=5), ProbeConfig(every=5, reward_model="gpt2"))
    configs = [PPOConfig(model=gpt2, reward_model=gpt2, probe=probe) for probe in probes]
    without, with_second = map(plan_ppo, configs)
    assert with_second[-1].bytes - without[-1].bytes == 4 * (124_439_808 + 768)


def test_the_pipelines_peak_is_its_largest_stages() -> None:
    last = plan_pipeline(PIPELINE)[-1]
    assert last.what == "peak"
    assert last.phase in ("ppo: rollout", "ppo: backward")


def test_an_evaluation_needs_no_pipeline() -> None:
    rows = plan_eval(EvalConfig(policies={"sft": "gpt2", "dropped": "", "ppo": "gpt2"}, reward_model="gpt2"))
    weights = [row.bytes for row in rows if row.what.startswith("weights: ")]
    assert weights == [4 * 124_439_808, 4 * 124_439_808, 4 * (124_439_808 + 768)]


def test_a_plan_needs_no_run_for_models_by_size() -> None:
    config = SFTConfig(model=ModelConfig(path="gpt2"))
    assert plan_sft(config)[-1].bytes > 16 * 124_439_808


def test_a_run_that_is_not_there_is_the_users_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLHF_RUNS", str(tmp_path))
    config = PPOConfig(model=ModelConfig(path="run:sft-gone"), reward_model=ModelConfig(path="gpt2"))
    with pytest.raises(UserError, match="sft-gone"):
        plan_ppo(config)


def test_a_model_of_unknown_size_is_the_users_mistake() -> None:
    with pytest.raises(UserError, match=r"model\.path: the sizes of 'nobody/nothing'"):
        plan_sft(SFTConfig(model=ModelConfig(path="nobody/nothing")))


def test_a_link_outside_a_pipeline_is_answered_with_the_option_to_use() -> None:
    config = SFTConfig(model=ModelConfig(path="stage:pretrain"))
    with pytest.raises(UserError, match="--from pretrain=RUN"):
        plan_sft(config)
