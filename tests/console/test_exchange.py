"""Runs to other tools and back: tables and events read by others' readers, logs as TRL and verl write them."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from typer.testing import CliRunner, Result

sys.path.insert(0, str(Path(__file__).parents[1] / "tui"))
from recorded import BEGAN, write_healthy, write_spoiled
from rlhf_console.cli.main import app
from rlhf_console.runs.store import find
from rlhf_sdk.states import State


def rlhf(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def exported(tmp_path: Path, target: str) -> list[Path]:
    write_healthy(tmp_path / "runs")
    done = rlhf("export", "ppo-healthy", "--runs", tmp_path / "runs", "--to", target, "--out", tmp_path, "--json")
    assert done.exit_code == 0, done.output
    return [Path(file) for file in json.loads(done.stdout)["files"]]


def test_csv_has_a_row_for_each_step_and_each_sample(tmp_path: Path) -> None:
    metrics, samples = exported(tmp_path, "csv")
    with metrics.open() as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["step"]) for row in rows] == list(range(1, 27))
    assert float(rows[9]["reward/score_mean"]) == 1.0 and float(rows[9]["time"]) == BEGAN + 10
    with samples.open() as stream:
        assert [float(row["score"]) for row in csv.DictReader(stream)] == [step / 10 for step in range(1, 27)]


def test_parquet_keeps_numbers_and_text(tmp_path: Path) -> None:
    metrics, samples = (pyarrow.parquet.read_table(file) for file in exported(tmp_path, "parquet"))
    assert metrics.column("kl/sequence_nats").to_pylist() == [step / 20 for step in range(1, 27)]
    assert samples.column("reference").to_pylist() == ["call your sister"] * 26


def test_tensorboard_reads_what_was_exported_and_it_comes_back(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (folder,) = exported(tmp_path, "tensorboard")
    accumulator = EventAccumulator(str(folder)).Reload()
    scalars = accumulator.Scalars("reward/score_mean")
    assert [event.step for event in scalars] == list(range(1, 27))
    assert scalars[4].value == pytest.approx(0.5) and scalars[4].wall_time == BEGAN + 5
    back = imported(tmp_path, "tensorboard", folder)
    assert list(back.summary.metrics["reward/score_mean"].times) == [BEGAN + step for step in range(1, 27)]


@pytest.mark.parametrize("service", ["wandb", "trackio"])
def test_services_get_every_step_once(service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[Any] = []
    fake = SimpleNamespace(
        log=lambda values, step: logged.append((step, values["reward/score_mean"])),
        finish=lambda: logged.append("end"),
    )

    def init(**fields: Any) -> SimpleNamespace:
        logged.append(fields)
        return fake

    fake.init = init
    monkeypatch.setitem(sys.modules, service, fake)
    assert exported(tmp_path, service) == []
    started, *steps, end = logged
    assert started["name"] == "ppo-healthy" and end == "end"
    assert service == "wandb" or not (started["auto_log_cpu"] or started["auto_log_gpu"])
    assert steps == [(step, step / 10) for step in range(1, 27)]


def test_a_missing_package_is_named_with_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    write_healthy(tmp_path)
    said = rlhf("export", "ppo-healthy", "--runs", tmp_path, "--to", "wandb", "--out", tmp_path)
    assert "wandb is not installed" in str(said.exception) and "rlhf-console[logs]" in str(said.exception)


def test_a_run_with_gaps_is_exported_too(tmp_path: Path) -> None:
    write_spoiled(tmp_path)
    for target in ("csv", "parquet", "tensorboard"):
        assert (
            rlhf("export", "ppo-spoiled", "--runs", tmp_path, "--to", target, "--out", tmp_path / "out").exit_code == 0
        )


def imported(tmp_path: Path, source: str, *paths: Path) -> Any:
    done = rlhf("import", *paths, "--from", source, "--runs", tmp_path / "read", "--name", "theirs", "--json")
    assert done.exit_code == 0, done.output
    run = find(tmp_path / "read", json.loads(done.stdout)["run"]).catch_up()
    assert run.state is State.FINISHED
    return run


def test_completions_of_trl(tmp_path: Path) -> None:
    """Columns as its model card of logged completions lists them, a file for each step, one with a chat."""
    chat = [[{"role": "user", "content": "sum it up"}], [{"role": "user", "content": "again"}]]
    for step, prompts in ((10, chat), (5, ["a post", "another"])):
        columns = {
            "step": [str(step)] * 2, "prompt": prompts, "completion": ["short", "longer text"],
            "length_reward": [0.5, 1.5], "advantage": [-1.0, 1.0],
        }  # fmt: skip
        pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / f"completions_{step:05d}.parquet")
    run = imported(tmp_path, "trl", tmp_path)
    assert list(run.summary.metrics["length_reward_mean"].steps) == [5, 10]
    assert list(run.summary.metrics["length_reward_mean"].values) == [1.0, 1.0]
    samples = list(run.directory.samples())
    assert [sample.step for sample in samples] == [5, 5, 10, 10]
    assert samples[1].metrics == {"length_reward": 1.5, "advantage": 1.0} and samples[1].index == 1
    assert samples[2].prompt == "user: sum it up"


def test_rollouts_of_verl(tmp_path: Path) -> None:
    for step in (2, 1):
        rows = [
            {"input": f"prompt {i}", "output": "text", "gts": "truth", "score": i + step, "step": step} for i in (0, 1)
        ]
        (tmp_path / f"{step}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = imported(tmp_path, "verl", tmp_path)
    assert list(run.summary.metrics["score_mean"].values) == [1.5, 2.5]
    assert [sample.reference for sample in run.directory.samples()] == ["truth"] * 4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"input": "a"\n', "line 1: not JSON"),
        ('{"input": "a", "step": 1}\n', "no output; there is input, step"),
        ("[1]\n", "line 1: '[1]'"),
    ],
)
def test_what_is_no_rollout_is_named(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "1.jsonl").write_text(text)
    said = rlhf("import", tmp_path, "--from", "verl", "--runs", tmp_path / "read")
    assert words in str(said.exception) and "1.jsonl" in str(said.exception)
    assert not (tmp_path / "read").exists()


def test_an_empty_or_missing_folder_is_named(tmp_path: Path) -> None:
    assert "no *.parquet" in str(rlhf("import", tmp_path, "--from", "trl", "--runs", tmp_path / "read").exception)
    assert "no such file" in str(rlhf("import", tmp_path / "x", "--from", "trl", "--runs", tmp_path / "read").exception)
