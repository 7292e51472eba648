"""`rlhf iterate`: which stages a profile becomes, what each links to, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from rlhf_console.iterating import in_rounds
from rlhf_console.profiles import load_profile, parse_settings, resolve_stage
from rlhf_plugins.pipeline import PipelineConfig
from rlhf_plugins.pipeline_plan import plan_pipeline
from rlhf_sdk.discovery import load_spec
from rlhf_sdk.trainer import UserError

ECHOES = str(Path(__file__).parent / "echo_profile.toml")
OWN_WORDS = """
[common]
seed = 5
[sft]
data = { source = ["posts.jsonl"] }
[ppo]
model = { path = "stage:sft" }
reward_model = { path = "stage:rm" }
data = { source = ["prompts.jsonl"], max_rows = 50 }
[distil]
teacher = { path = "stage:ppo" }
[pipeline]
stages = ["sft", "ppo", "distil"]
"""


Configs = dict[str, dict[str, Any]]


def rounds_of(*settings: str, profile: str = "demo", rounds: int = 2, seed: int | None = None, **asked: Any) -> Configs:
    """What every stage is told, before defaults are filled in."""
    made, left = in_rounds(load_profile(profile), rounds, asked, settings, seed)
    for_one = parse_settings(left, [stage.name for stage in made.stages])
    found = {}
    for stage in made.stages:
        keys = fields_of(stage.plugin)
        found[stage.name] = resolve_stage(made, stage, keys, for_one.get(stage.name, {})).config
    return found


def fields_of(plugin: str) -> set[str]:
    return {field.name for field in msgspec.structs.fields(load_spec(plugin).config)}


@pytest.fixture(autouse=True)
def keys_without_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys of a plugin's config, from the plugin itself."""
    monkeypatch.setattr("rlhf_console.iterating.config_keys", fields_of)


def test_each_round_goes_on_from_the_one_before() -> None:
    stages = rounds_of(pairs=7, prompts=20)
    assert list(stages) == ["sft", "rm", "pairs_1", "rm_1", "ppo_1", "pairs_2", "rm_2", "ppo_2", "eval"]
    paths = {
        name: {key: value["path"] for key, value in config.items() if isinstance(value, dict) and value.get("path")}
        for name, config in stages.items()
    }
    assert paths["pairs_1"] == {"model": "stage:sft", "reward_model": "stage:rm"}
    assert paths["rm_1"] == {"model": "stage:rm", "sft_model": "stage:sft"}
    assert paths["ppo_1"] == {"model": "stage:sft", "reward_model": "stage:rm_1"}
    assert paths["pairs_2"] == {"model": "stage:ppo_1", "reward_model": "stage:rm_1"}
    assert paths["rm_2"] == {"model": "stage:rm_1", "sft_model": "stage:sft"}
    assert paths["ppo_2"] == {"model": "stage:ppo_1", "ref_model": "stage:sft", "reward_model": "stage:rm_2"}
    sources = [stages[name]["data"]["source"] for name in ("rm", "rm_1", "rm_2")]
    assert sources == [["world"], ["world", "stage:pairs_1"], ["world", "stage:pairs_1", "stage:pairs_2"]]
    assert [stages[name].get("labels_of", "") for name in ("rm", "rm_1", "rm_2")] == ["", "stage:rm", "stage:rm"]
    policies = {name: path for name, path in stages["eval"]["policies"].items() if path}
    assert policies == {"sft": "stage:sft", "ppo_1": "stage:ppo_1", "ppo_2": "stage:ppo_2"}
    assert stages["eval"]["reward_model"] == "stage:rm_2"
    assert [(stages[name]["pairs"], stages[name]["round"]) for name in ("pairs_1", "pairs_2")] == [(7, 1), (7, 2)]


def test_pairs_are_sampled_as_the_policy_is_trained_unless_the_profile_says_otherwise() -> None:
    stages = rounds_of()
    for key in ("data", "response_tokens", "temperature"):
        assert stages["pairs_1"][key] == stages["ppo_1"][key]
    assert rounds_of(profile="demo-iterate")["pairs_1"]["data"]["world_seed"] == 121


def test_settings_hold_for_all_rounds_or_for_one() -> None:
    stages = rounds_of("ppo.kl_coef=0.3", "ppo_2.kl_coef=0.4", "rm.batch_size=6", "pairs.pairs=9")
    assert [stages[name]["kl_coef"] for name in ("ppo_1", "ppo_2")] == [0.3, 0.4]
    assert [stages[name]["batch_size"] for name in ("rm", "rm_1", "rm_2")] == [6, 6, 6]
    assert stages["pairs_2"]["pairs"] == 9


def test_later_rounds_see_other_prompts_and_noise() -> None:
    for seed, first in ((None, 1), (8, 8)):
        stages = rounds_of(seed=seed, rounds=3)
        assert [stages[f"ppo_{number}"]["seed"] for number in (1, 2, 3)] == [first, first + 1, first + 2]
        assert [stages[f"rm_{number}"]["seed"] for number in (1, 2, 3)] == [first, first + 1, first + 2]
        assert {stages[f"pairs_{number}"]["seed"] for number in (1, 2, 3)} == {first}
        assert stages["sft"]["seed"] == stages["eval"]["seed"] == first


def test_without_a_reward_model_the_first_labels_make_one(tmp_path: Path) -> None:
    profile = tmp_path / "own.toml"
    profile.write_text(OWN_WORDS)
    stages = rounds_of(profile=str(profile))
    assert list(stages) == ["sft", "pairs_1", "rm_1", "ppo_1", "pairs_2", "rm_2", "ppo_2", "distil"]
    assert (stages["pairs_1"]["reward_model"]["path"], stages["pairs_1"]["choose"]) == ("", "random")
    first = stages["rm_1"]
    assert (first["model"]["path"], first.get("sft_model")) == ("stage:sft", None)
    assert (first["data"]["source"], first.get("labels_of", "")) == (["stage:pairs_1"], "")
    assert stages["rm_2"]["data"]["source"] == ["stage:pairs_1", "stage:pairs_2"]
    assert stages["distil"]["teacher"]["path"] == "stage:ppo_2"
    assert stages["ppo_2"]["seed"] == 6


MISTAKES = [
    ({"profile": "demo"}, ["ppo.layout=adapters"], "can go on from the first one's policy"),
    ({"profile": "demo"}, ["rm.lora.rank=4"], "[rm] lora"),
    ({"profile": "demo-distill"}, [], "unknown profile"),
    ({"profile": ECHOES}, [], "no ppo, rloo or grpo stage to repeat"),
    ({"profile": "demo"}, ["ppo_3.kl_coef=1"], "no stage 'ppo_3'"),
]


@pytest.mark.parametrize(("given", "settings", "message"), MISTAKES)
def test_mistakes_are_told_before_anything_is_written(given: dict[str, Any], settings: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        rounds_of(*settings, **given)
    assert message in str(caught.value)


def test_the_memory_of_every_round_is_planned() -> None:
    stages = {name: {"plugin": family(name), "config": config} for name, config in rounds_of().items()}
    rows = plan_pipeline(msgspec.convert({"stages": stages}, PipelineConfig))
    weights = {(row.phase, row.what) for row in rows if row.what.startswith("weights")}
    assert {("pairs_2: samples", "weights: policy"), ("pairs_2: scores", "weights: reward_model")} <= weights
    assert ("ppo_2: always", "weights: ref_policy") in weights
    assert ("rm: label comparisons", "weights: SFT policy") in weights
    assert ("rm_2: label comparisons", "weights: SFT policy") not in weights, "labels_of: nothing is sampled again"


def family(name: str) -> str:
    return name.partition("_")[0]
