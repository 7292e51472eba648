"""Every built-in profile resolves to configs that its plugins accept, and fits where its summary says it does."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rlhf_console.profiles import list_profiles
from rlhf_console.requests import RunRequest, resolve_request
from rlhf_engine.config import PPOConfig
from rlhf_plugins.pipeline import PipelineConfig
from rlhf_plugins.pipeline_plan import plan_pipeline

CHECKOUT = Path(__file__).parents[2]
ROUNDS = {"demo-iterate"}
"""Profiles of `rlhf iterate`, which are no pipelines by themselves (console/test_iterating.py)."""
PROFILES = sorted(path.stem for path in (CHECKOUT / "profiles").glob("*.toml") if path.stem not in ROUNDS)
GIB = 2**30
DEVICE_GIB = {"T4": 14.5, "80 GB": 79.1, "H200": 140.4}
"""What the devices really offer to a process."""
LARGEST_SHARE = 0.9
"""The rest is for fragmentation."""


@cache
def request_of(profile: str) -> RunRequest:
    return resolve_request("pipeline", profile, [], [], None, CHECKOUT / "runs")


def peak_gib(profile: str) -> float:
    config = msgspec.convert(request_of(profile).config, PipelineConfig)
    return plan_pipeline(config)[-1].bytes / GIB


def test_the_expected_profiles_are_there() -> None:
    assert set(PROFILES) <= set(list_profiles())
    assert {"demo", "tldr-pythia-1b", "tldr-llama-1b", "tldr-llama-1b-80gb", "hh-pythia-160m", "tldr-gpt2"} <= set(
        PROFILES
    )


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_is_valid(profile: str) -> None:
    request = request_of(profile)
    assert list(request.stages) == [stage.partition("=")[0] for stage in stages_in_file(profile)]


def stages_in_file(profile: str) -> list[str]:
    values = tomllib.loads((CHECKOUT / "profiles" / f"{profile}.toml").read_text())
    if "pipeline" not in values:
        return stages_in_file(values["extends"])
    stages: list[str] = values["pipeline"]["stages"]
    return stages


@pytest.mark.parametrize(
    ("profile", "device"),
    [
        ("tldr-gpt2", "T4"),
        ("hh-pythia-160m", "T4"),
        ("tldr-pythia-1b", "80 GB"),
        ("tldr-llama-1b-80gb", "80 GB"),
        ("tldr-tinyllama", "80 GB"),
        ("tldr-llama-1b", "H200"),
    ],
)
def test_a_profile_fits_its_device_by_arithmetic(profile: str, device: str) -> None:
    assert peak_gib(profile) < LARGEST_SHARE * DEVICE_GIB[device]


def test_the_h200_settings_are_not_for_80_gb() -> None:
    assert peak_gib("tldr-llama-1b-80gb") < peak_gib("tldr-llama-1b")


def leaves(value: Any, key: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {key: value}
    return {name: leaf for part, below in value.items() for name, leaf in leaves(below, f"{key}.{part}").items()}


def test_the_80_gb_variant_differs_in_micro_batches_alone() -> None:
    large, small = (leaves(request_of(name).config) for name in ("tldr-llama-1b", "tldr-llama-1b-80gb"))
    changed = {key.rpartition(".")[2] for key in large if large[key] != small[key]}
    assert changed == {"micro_batch_size"}


def test_pythia_has_the_settings_of_the_paper() -> None:
    """Huang et al. 2024, as listed in docs/profiles.md and docs/numerics.md."""
    stages = request_of("tldr-pythia-1b").config["stages"]
    ppo = msgspec.convert(stages["ppo"]["config"], PPOConfig)
    published = {
        "total_episodes": 1_000_000, "batch_size": 512, "ppo_epochs": 4, "minibatches": 1, "response_tokens": 53,
        "temperature": 0.7, "kl_coef": 0.05, "clip_range": 0.2, "value_clip_range": 0.2, "vf_coef": 0.1, "gamma": 1.0,
        "gae_lambda": 0.95, "whiten_rewards": False, "missing_eos": "replace", "missing_eos_value": -1.0,
    }  # fmt: skip
    assert {key: getattr(ppo, key) for key in published} == published
    assert (ppo.optimizer.lr, ppo.optimizer.eps, ppo.optimizer.schedule) == (3e-6, 1e-5, "linear")
    for stage, batch, response in (("sft", 128, 53), ("rm", 64, 169)):
        config = stages[stage]["config"]
        assert (config["batch_size"], config["epochs"]) == (batch, 1)
        assert (config["optimizer"]["lr"], config["optimizer"]["schedule"]) == (3e-6, "cosine")
        assert (config["data"]["max_prompt_tokens"], config["data"]["max_response_tokens"]) == (512, response)


def test_no_world_posts_are_shared_between_stages() -> None:
    for profile in ("demo", "demo-overoptimise"):
        config = request_of(profile).config
        seeds = [value for key, value in leaves(config).items() if key.endswith("world_seed") and value]
        by_stage = {key.split(".")[2] for key, value in leaves(config).items() if key.endswith("world_seed") and value}
        assert {"sft", "rm", "ppo", "eval"} <= by_stage
        assert len(set(seeds)) >= 7


def test_local_evaluation_leaves_out_every_training_source() -> None:
    stages = request_of("tldr-local").config["stages"]
    trained_on = {
        source for name in ("pretrain", "sft", "rm", "ppo") for source in stages[name]["config"]["data"]["source"]
    }
    assert trained_on <= set(stages["eval"]["config"]["data"]["exclude"])
