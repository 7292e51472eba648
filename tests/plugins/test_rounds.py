"""Two rounds in miniature, every stage by the real worker: lineage, old and new comparisons, and the same bits when
every stage is cut off within and done again.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from recording_run import RecordingRun
from rlhf_engine.config import CleaningConfig, ModelConfig
from rlhf_engine.data.cleaning import clean_text
from rlhf_engine.models import load_policy
from rlhf_engine.scalar_models import load_scalar_model
from rlhf_plugins.pairs.labels import FILE
from rlhf_plugins.pipeline import StageConfig
from rlhf_plugins.pipeline.links import linked_config
from rlhf_plugins.ppo.trainer import PPOTrainer
from rlhf_plugins.rm.trainer import RewardModelTrainer
from rlhf_sdk.config_errors import convert_config
from rlhf_sdk.discovery import load_spec
from rlhf_sdk.events import Check, MetricsLogged
from rlhf_sdk.launch import create_run
from rlhf_sdk.references import resolve
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.trainer import UserError
from rlhf_sdk.worker import Worker
from rlhf_sdk.worker_control import Control
from rlhf_sdk.worker_run import WorkerRun
from tiny_runs import build_models, world

Stages = dict[str, StageConfig]
PAIRS = 4
STAGES = ("pairs_1", "rm_1", "ppo_1", "pairs_2", "rm_2", "ppo_2")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return build_models(tmp_path_factory.mktemp("models"))


def stages_of(models: dict[str, str]) -> Stages:
    """As `rlhf iterate` links them, from a policy and no reward model."""
    plain = {"device": "cpu", "threads": 1}
    trained = plain | {"optimizer": {"lr": 1e-2}, "checkpoint_every": 1}
    sft = {"path": models["policy"]}
    pairs = plain | {"data": world(41, 40), "prompts": 8, "pairs": PAIRS, "response_tokens": 8, "temperature": 1.0}
    rm = trained | {"norm_data": world(42, 8), "norm_rows": 8, "score_norm": "affine_on_sft_samples", "batch_size": 2}
    ppo = trained | {"data": world(43, 8), "total_episodes": 8, "batch_size": 4, "micro_batch_size": 2}
    limits = {"max_prompt_tokens": 160, "max_response_tokens": 10}
    configs: dict[str, tuple[str, dict[str, Any]]] = {}
    for number in (1, 2):
        policy = sft if number == 1 else {"path": "stage:ppo_1"}
        before = {} if number == 1 else {"reward_model": {"path": "stage:rm_1"}, "choose": "near_ties"}
        asked = pairs | {"labeller": "annotators", "round": number, "model": policy}
        sources = [f"stage:pairs_{earlier}" for earlier in range(1, number + 1)]
        start = {"model": sft} if number == 1 else {"model": {"path": "stage:rm_1"}, "sft_model": sft}
        reference = {} if number == 1 else {"ref_model": sft, "critic_of": "stage:ppo_1"}
        configs[f"pairs_{number}"] = ("pairs", asked | before)
        configs[f"rm_{number}"] = ("rm", rm | start | {"data": {"source": sources, **limits}})
        scored = {"reward_model": {"path": f"stage:rm_{number}"}, "response_tokens": 8, "seed": number}
        configs[f"ppo_{number}"] = ("ppo", ppo | scored | {"model": policy} | reference)
    return {name: StageConfig(plugin=plugin, config=config) for name, (plugin, config) in configs.items()}


class Killed(BaseException):
    """Nothing that a trainer or the worker would handle."""


def do(root: Path, stages: Stages, *, killed_at: Mapping[str, int]) -> dict[str, RunDir]:
    """Every stage to its end; those in `killed_at` are cut off at a safe point first."""
    runs: dict[str, RunDir] = {}
    for name, stage in stages.items():
        config = linked_config(stage, {done: run.id for done, run in runs.items()})
        run = runs[name] = create_run(root, plugin=stage.plugin, config=config, pipeline="it", stage=name)
        if name in killed_at:
            assert attempt(run, 1, killed_at[name]) != 0
        assert attempt(run, 2) == 0
    return runs


def attempt(run: RunDir, number: int, last_safe_point: int | None = None) -> int:
    passed: list[None] = []

    def safe_point(worker_run: WorkerRun) -> None:
        passed.append(None)
        if len(passed) == last_safe_point:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WorkerRun, "safe_point", safe_point)
        patch.setattr(Control, "install_signal_handlers", lambda control: None)
        patch.setattr("os.fsync", lambda descriptor: None)
        return Worker(run, attempt=number, since=time.time()).main()


def bits(run: RunDir) -> dict[str, str]:
    """Of everything that the newest checkpoint hands on."""
    newest = sorted(run.checkpoints.iterdir())[-1]
    files = [*newest.glob("model/*.safetensors"), *newest.glob("comparisons/*")]
    return {str(file.relative_to(newest)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture(scope="module")
def straight(models: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunDir]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        return do(tmp_path_factory.mktemp("straight"), stages_of(models), killed_at={})


def test_each_run_names_the_runs_it_came_from(straight: dict[str, RunDir]) -> None:
    parents = {name: dict(run.record().parents) for name, run in straight.items()}
    assert parents == {
        "pairs_1": {},
        "rm_1": {"data.source.0": "it.pairs_1"},
        "ppo_1": {"reward_model.path": "it.rm_1"},
        "pairs_2": {"model.path": "it.ppo_1", "reward_model.path": "it.rm_1"},
        "rm_2": {"model.path": "it.rm_1", "data.source.0": "it.pairs_1", "data.source.1": "it.pairs_2"},
        "ppo_2": {"model.path": "it.ppo_1", "reward_model.path": "it.rm_2", "critic_of": "it.ppo_1"},
    }


def test_cut_off_within_every_stage_the_rounds_come_to_the_same_bits(
    models: dict[str, str], straight: dict[str, RunDir], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    killed_at = {"pairs_1": 3, "rm_1": 9, "ppo_1": 40, "pairs_2": 12, "rm_2": 6, "ppo_2": 35}
    again = do(tmp_path / "runs", stages_of(models), killed_at=killed_at)
    for name in STAGES:
        assert bits(again[name]) == bits(straight[name]) != {}, name


def trainer_of(run: RunDir, trainer: Any, folder: Path) -> Any:
    """A trainer of the run's own config, ready to begin."""
    record = run.record()
    config = convert_config(resolve(run.root, record.config), load_spec(record.plugin).config)
    trainer.runtime.start(config.seed)
    trainer.setup(RecordingRun(config, folder))
    return trainer


def labels_in(run: RunDir) -> list[dict[str, Any]]:
    file = sorted(run.checkpoints.iterdir())[-1] / "comparisons" / FILE
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_the_refit_trains_on_old_and_new_comparisons(straight: dict[str, RunDir], tmp_path: Path) -> None:
    trainer = trainer_of(straight["rm_2"], RewardModelTrainer(), tmp_path)
    labelled = [*labels_in(straight["pairs_1"]), *labels_in(straight["pairs_2"])]
    assert len(labelled) == 2 * PAIRS
    seen = [(group.prompt.text, *group.responses, group.pairs) for group in trainer.groups]
    texts = [
        [clean_text(line[role], CleaningConfig()) for role in ("prompt", "chosen", "rejected")] for line in labelled
    ]
    assert seen == [(*words, [(0, 1)]) for words in texts]


def test_the_refit_goes_on_from_raw_scores_and_is_normalised_anew(straight: dict[str, RunDir], tmp_path: Path) -> None:
    first = sorted(straight["rm_1"].checkpoints.iterdir())[-1] / "model"
    trainer = trainer_of(straight["rm_2"], RewardModelTrainer(), tmp_path)
    earlier = load_scalar_model(ModelConfig(path=str(first)), trainer.tokenizer, trainer.device)
    assert earlier.affine != (1.0, 0.0) and trainer.state.reward_model.affine == (1.0, 0.0)
    pairs = zip(earlier.network.parameters(), trainer.state.reward_model.network.parameters(), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)
    trainer.finish()
    gain, bias = trainer.state.reward_model.affine
    scores = trainer.scores_to_normalise() * gain + bias
    assert abs(float(scores.mean())) < 1e-4 and abs(float(scores.std(correction=0)) - 1) < 1e-3


def test_the_policy_goes_on_and_the_reference_stays(
    models: dict[str, str], straight: dict[str, RunDir], tmp_path: Path
) -> None:
    trainer = trainer_of(straight["ppo_2"], PPOTrainer(), tmp_path)
    first = sorted(straight["ppo_1"].checkpoints.iterdir())[-1] / "model"
    for role, path in (("policy", str(first)), ("ref_policy", models["policy"])):
        expected = load_policy(ModelConfig(path=path), trainer.tokenizer, trainer.device)
        loaded = getattr(trainer.state.models, role)
        assert all(torch.equal(a, b) for a, b in zip(expected.parameters(), loaded.parameters(), strict=True)), role


def test_only_at_its_reference_must_a_policy_begin_without_kl(straight: dict[str, RunDir]) -> None:
    lights = {
        name: {event.name: event.status for event in straight[name].events() if isinstance(event, Check)}
        for name in ("ppo_1", "ppo_2")
    }
    assert lights["ppo_1"]["kl_before_first_update"] == "ok"
    assert "kl_before_first_update" not in lights["ppo_2"]
    first = next(event for event in straight["ppo_2"].events() if isinstance(event, MetricsLogged))
    assert first.values["kl/token_max_nats"] > 0


def test_a_reward_model_alone_does_not_say_what_sft_would_write(straight: dict[str, RunDir], tmp_path: Path) -> None:
    config = {**straight["rm_2"].record().config, "sft_model": {}}
    run = create_run(straight["rm_2"].root, plugin="rm", config=config)
    with pytest.raises(UserError, match=r"rm.sft_model.path: .* is a reward model already"):
        trainer_of(run, RewardModelTrainer(), tmp_path)


def test_adapters_have_no_other_reference(straight: dict[str, RunDir], tmp_path: Path) -> None:
    config = {**straight["ppo_2"].record().config, "layout": "adapters"}
    run = create_run(straight["ppo_2"].root, plugin="ppo", config=config)
    with pytest.raises(UserError, match='ref_model: with layout = "adapters" the reference is the backbone'):
        trainer_of(run, PPOTrainer(), tmp_path)
