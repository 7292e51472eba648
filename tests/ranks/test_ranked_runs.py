"""Whole runs of two ranks: held, stopped, struck, and resumed, they end as the undisturbed run does."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rlhf_sdk import launch
from rlhf_sdk.commands import Pause, Resume, SampleNow, Stop
from rlhf_sdk.events import Alert, MetricsLogged, Started, StateChanged
from rlhf_sdk.exit_codes import ExitCode
from rlhf_sdk.pace import AttemptOptions
from rlhf_sdk.ranked.reports import read_reports
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_root import list_runs
from rlhf_sdk.states import State
from rlhf_sdk.trainer import UserError
from tiny_runs import Config, build_models, world

TWO = AttemptOptions(processes=2, rank_timeout_seconds=60)
PATIENCE_SECONDS = 120
STRUCK = Path(__file__).with_name("struck_plugin.txt")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return build_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, models: dict[str, str]) -> dict[str, RunDir]:
    """Runs of two ranks that nothing happens to."""
    root = tmp_path_factory.mktemp("straight")
    found = {"sft": begun(root, "sft", sft_config(models)), "ppo": begun(root, "ppo", ppo_config(models))}
    for run in found.values():
        verdict = launch.wait(run)
        assert verdict is not None and verdict.state is State.FINISHED, run.log.read_text()[-3000:]
    return found


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A run root that is left without processes."""
    yield tmp_path / "runs"
    for run in list_runs(tmp_path / "runs"):
        try:
            launch.send_signal(run, signal.SIGKILL)
        except UserError:
            continue


@pytest.fixture
def struck(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Installs the plugins of `struck_plugin.txt` for this process and its children."""
    monkeypatch.setenv("STRUCK", "1")
    site = tmp_path / "site"
    metadata = site / "struck-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: struck\nVersion: 1.0\n")
    points = "".join(f"{name} = struck_plugin:{name}\n" for name in ("struck_sft", "struck_ppo"))
    (metadata / "entry_points.txt").write_text("[rlhf.trainers]\n" + points)
    (site / "struck_plugin.py").write_text(STRUCK.read_text())
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)
    yield
    sys.modules.pop("struck_plugin", None)


def sft_config(models: dict[str, str], **changes: Any) -> Config:
    return {
        "data": world(3, 24), "model": {"path": models["policy"]}, "batch_size": 8, "micro_batch_size": 2,
        "max_steps": 5, "checkpoint_every": 1, "threads": 1, "eval_every": 0, **changes,
    }  # fmt: skip


def ppo_config(models: dict[str, str], **changes: Any) -> Config:
    return {
        "data": world(3, 24), "model": {"path": models["policy"]}, "reward_model": {"path": models["reward_model"]},
        "total_episodes": 40, "batch_size": 8, "minibatches": 2, "ppo_epochs": 2, "micro_batch_size": 2,
        "response_tokens": 8, "checkpoint_every": 1, "threads": 1, **changes,
    }  # fmt: skip


def begun(root: Path, plugin: str, config: Config, options: AttemptOptions = TWO) -> RunDir:
    run = launch.create_run(root, plugin=plugin, config=config)
    launch.start(run, options)
    return run


def figures(run: RunDir) -> dict[int, dict[str, float | None]]:
    """Metrics by step, the last word on each."""
    logged = [event for event in run.events() if isinstance(event, MetricsLogged)]
    return {
        event.step: {name: value for name, value in event.values.items() if not name.startswith("throughput/")}
        for event in logged
    }


def weights(run: RunDir) -> str:
    newest = sorted(run.checkpoints.iterdir())[-1]
    return hashlib.sha256((newest / "model" / "model.safetensors").read_bytes()).hexdigest()


def until(run: RunDir, found: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not found():
        assert time.monotonic() < deadline and run.exit() is None, run.log.read_text()[-2000:]
        time.sleep(0.05)


def alerts(run: RunDir) -> dict[str, Alert]:
    return {event.code: event for event in run.events() if isinstance(event, Alert)}


def assert_ended_alike(run: RunDir, straight: RunDir) -> None:
    """Finished, and the same bits as the run that nothing happened to."""
    verdict = launch.wait(run)
    assert verdict is not None and verdict.state is State.FINISHED, run.log.read_text()[-3000:]
    assert figures(run) == figures(straight)
    assert weights(run) == weights(straight)


def test_ppo_on_two_ranks_is_ppo_on_one_held_stopped_and_resumed(
    root: Path, models: dict[str, str], straight: dict[str, RunDir]
) -> None:
    alone = begun(root, "ppo", ppo_config(models), AttemptOptions())
    disturbed = begun(root, "ppo", ppo_config(models))
    until(disturbed, lambda: 1 in figures(disturbed))
    launch.request(disturbed, Pause())
    until(disturbed, lambda: disturbed.state() is State.PAUSED)
    launch.request(disturbed, Resume())
    until(disturbed, lambda: disturbed.state() is State.RUNNING)
    launch.request(disturbed, Stop())
    verdict = launch.wait(disturbed)
    assert verdict is not None and (verdict.state, verdict.exit_code) == (State.STOPPED, 143)
    launch.resume(disturbed)
    assert disturbed.status().options.ranks == 2, "as many as before"  # type: ignore[union-attr]
    assert launch.wait(alone) is not None
    assert_ended_alike(disturbed, straight["ppo"])
    for step, expected in figures(alone).items():
        assert figures(straight["ppo"])[step] == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_a_sharded_run_stopped_and_resumed_ends_as_the_straight_one(root: Path, models: dict[str, str]) -> None:
    config = ppo_config(models, sharding={"model": "zero-3", "value_model": "zero-2"}, total_episodes=24)
    undisturbed, stopped = begun(root, "ppo", config), begun(root, "ppo", config)
    until(stopped, lambda: 1 in figures(stopped))
    launch.request(stopped, SampleNow())
    launch.request(stopped, Stop())
    verdict = launch.wait(stopped)
    assert verdict is not None and verdict.state is State.STOPPED, stopped.log.read_text()[-3000:]
    launch.resume(stopped)
    assert launch.wait(undisturbed) is not None
    assert_ended_alike(stopped, undisturbed)


@pytest.mark.usefixtures("struck")
@pytest.mark.parametrize("rank, trouble", [(1, "killed"), (0, "killed"), (1, "raises"), (1, "hangs")])
def test_a_lost_rank_is_named_and_all_begin_again(
    root: Path,
    models: dict[str, str],
    straight: dict[str, RunDir],
    monkeypatch: pytest.MonkeyPatch,
    rank: int,
    trouble: str,
) -> None:
    monkeypatch.setenv("TROUBLE", trouble)
    monkeypatch.setenv("STRUCK", str(rank))
    patience = 12.0 if trouble == "hangs" else 60.0
    run = begun(root, "struck_sft", sft_config(models), AttemptOptions(processes=2, rank_timeout_seconds=patience))
    assert_ended_alike(run, straight["sft"])
    said = alerts(run)["ranks_restart"].message
    expected = {"killed": "is gone", "raises": "failed", "hangs": "has not got on for"}[trouble]
    assert said.startswith(f"rank {rank} on {read_reports(run.path)[1].host} {expected}"), said
    assert f"rank {1 - rank} waited for meeting" in said and said.endswith("(restart 1 of 3)"), said
    assert ("shapes don't match" in said) == (trouble == "raises")
    starts = [event for event in run.events() if isinstance(event, Started)]
    assert [(event.attempt, event.resumed_from) for event in starts] == [(1, None), (2, "step-00000002")]
    assert [report.ended for report in read_reports(run.path)] == [State.FINISHED, State.FINISHED]


@pytest.mark.usefixtures("struck")
def test_a_rank_killed_in_a_sharded_checkpoint_leaves_the_one_before(
    root: Path, models: dict[str, str], straight: dict[str, RunDir], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TROUBLE", "killed_in_a_checkpoint")
    run = begun(root, "struck_sft", sft_config(models, sharding={"model": "zero-3"}))
    verdict = launch.wait(run)
    assert verdict is not None and verdict.state is State.FINISHED, run.log.read_text()[-3000:]
    starts = [event for event in run.events() if isinstance(event, Started)]
    assert [(event.attempt, event.resumed_from) for event in starts] == [(1, None), (2, "step-00000001")]
    assert not [path for path in run.checkpoints.iterdir() if not path.name.startswith("step-")]
    last = max(figures(run))
    assert figures(run)[last] == pytest.approx(figures(straight["sft"])[last], rel=1e-3, abs=1e-4)


@pytest.mark.usefixtures("struck")
@pytest.mark.parametrize(
    "trouble, code, said",
    [("diverges", ExitCode.DIVERGED, "loss is nan"), ("disk_full", ExitCode.USER_ERROR, "No space left")],
)
def test_a_rank_that_diverges_or_has_no_room_ends_the_run_without_a_restart(
    root: Path, models: dict[str, str], monkeypatch: pytest.MonkeyPatch, trouble: str, code: ExitCode, said: str
) -> None:
    monkeypatch.setenv("TROUBLE", trouble)
    run = begun(root, "struck_sft", sft_config(models))
    verdict = launch.wait(run)
    assert verdict is not None and (verdict.state, verdict.exit_code) == (State.FAILED, code)
    assert "rank 1" in verdict.reason and said in verdict.reason
    assert verdict.attempt == 1 and "ranks_restart" not in alerts(run)


@pytest.mark.usefixtures("struck")
def test_all_ranks_go_on_with_fewer_rows_where_one_is_short_of_memory(
    root: Path, models: dict[str, str], straight: dict[str, RunDir], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TROUBLE", "short_of_memory")
    run = begun(root, "struck_ppo", ppo_config(models))
    verdict = launch.wait(run)
    assert verdict is not None and verdict.state is State.FINISHED, run.log.read_text()[-3000:]
    alert = alerts(run)["out_of_memory_backed_off"]
    assert "rank 1" in alert.message or "with 2 rows at a time: goes on with 1" in alert.message
    assert figures(run)[5] == pytest.approx(figures(straight["ppo"])[5], rel=1e-3, abs=1e-4)


@pytest.mark.usefixtures("struck")
def test_sharded_ranks_begin_anew_with_fewer_rows_where_one_is_short_of_memory(
    root: Path, models: dict[str, str], straight: dict[str, RunDir], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TROUBLE", "short_of_memory")
    run = begun(root, "struck_sft", sft_config(models, sharding={"model": "zero-3"}))
    verdict = launch.wait(run)
    assert verdict is not None and verdict.state is State.FINISHED, run.log.read_text()[-3000:]
    assert "rank 1" in alerts(run)["ranks_restart"].message and "memory" in alerts(run)["ranks_restart"].message
    assert json.loads((run.path / "rows_at_a_time.json").read_text()) == {"update": 1}
    assert figures(run)[3] == pytest.approx(figures(straight["sft"])[3], rel=1e-3, abs=1e-4)


def test_a_users_mistake_ends_all_ranks_at_once(root: Path, models: dict[str, str]) -> None:
    run = begun(root, "sft", sft_config(models, batch_size=3))
    verdict = launch.wait(run)
    assert verdict is not None and (verdict.state, verdict.exit_code) == (State.FAILED, ExitCode.USER_ERROR)
    assert verdict.reason == "batch_size: 3 rows can't be dealt evenly to 2 ranks; choose a multiple of 2"
    assert [event.state for event in run.events() if isinstance(event, StateChanged)] == ["starting", "failed"]
