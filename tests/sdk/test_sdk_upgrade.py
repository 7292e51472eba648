"""Runs go on after an upgrade, on another machine's terms, and from another directory; what is newer is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlhf_sdk import launch
from rlhf_sdk.checkpoints import STATE_FILE, list_checkpoints, write_checkpoint
from rlhf_sdk.events import Alert, Started, UnknownEvent, decode_event
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.states import State
from rlhf_sdk.trainer import UserError

Begin = Callable[..., RunDir]
Folded = Callable[[RunDir], dict[int, dict[str, float]]]

OF_THE_FIRST_VERSION: dict[str, Any] = {
    "run.json": {"id": "old", "plugin": "echo", "config": {"steps": 4, "checkpoint_every": 1}, "created": 1.0},
    "status.json": {
        "state": "killed",
        "attempt": 1,
        "started": 1.0,
        "time": 2.0,
        "host": "gone",
        "boot_id": "gone",
        "shim": {"pid": 1, "start": "1"},
    },
    "events.jsonl": [
        {"kind": "started", "plugin": "echo", "total_steps": 4, "seq": 1, "time": 1.0, "step": 0},
        {"kind": "metrics", "values": {"echo/score": 0.25}, "seconds": 0.5, "seq": 2, "time": 1.0, "step": 1},
        {"kind": "metrics", "values": {"echo/score": 0.75}, "seconds": 0.5, "seq": 3, "time": 2.0, "step": 2},
    ],
    "samples.jsonl": [{"tag": "echo", "index": 0, "prompt": "p", "response": "r", "seq": 1, "step": 1}],
}
"""Keys that came later are absent."""


@pytest.fixture
def old(root: Path) -> RunDir:
    run = RunDir(root / "old")
    run.commands.mkdir(parents=True)
    for name, content in OF_THE_FIRST_VERSION.items():
        lines = content if isinstance(content, list) else [content]
        (run.path / name).write_text("".join(json.dumps(line) + "\n" for line in lines))

    def fill(folder: Path) -> None:
        (folder / "model").mkdir()
        (folder / "model" / "echo.json").write_text('{"steps_done": 1, "sum": 0.25}')
        (folder / STATE_FILE).write_text('{"step": 1, "seq": 2, "sample_seq": 1, "attempt": 1, "finished": false}')

    write_checkpoint(run.checkpoints, 1, fill)
    return run


def ended(run: RunDir) -> tuple[int, str]:
    launch.resume(run)
    verdict = launch.wait(run)
    assert verdict is not None
    return verdict.exit_code, verdict.reason


def test_a_run_of_the_first_version_goes_on(old: RunDir, folded: Folded) -> None:
    assert ended(old) == (0, "")
    steps = folded(old)
    assert list(steps) == [1, 2, 3, 4]
    assert steps[1] == {"echo/score": 0.25} and steps[2]["echo/sum"] == 0.25 + steps[2]["echo/score"]
    starts = [event for event in old.events() if isinstance(event, Started)]
    assert starts[-1].resumed_from == "step-00000001"
    assert [sample.seq for sample in old.samples()] == [1, 2, 3, 4]


NEWER = {"run.json": '"schema": 2, "id"', "events.jsonl": '"schema": 2, "kind"'}


@pytest.mark.parametrize("name", NEWER)
def test_a_run_of_a_newer_version_is_refused_in_words(name: str, old: RunDir) -> None:
    file = old.path / name
    file.write_text(file.read_text().replace(NEWER[name].partition(", ")[2], NEWER[name]))
    words = f"{name} has schema 2; this version reads up to 1: upgrade rlhf-console"
    if name == "run.json":
        with pytest.raises(UserError, match=words):
            launch.resume(old)
        return
    assert ended(old) == (2, words)
    assert [checkpoint.name for checkpoint in list_checkpoints(old.checkpoints)] == ["step-00000001"]


def test_a_checkpoint_of_a_newer_version_is_refused_in_words(old: RunDir) -> None:
    write_checkpoint(old.checkpoints, 2, lambda folder: (folder / STATE_FILE).write_text('{"schema": 2}'))
    code, reason = ended(old)
    assert code == 2 and "step-00000002 has schema 2; this version reads up to 1" in reason


def test_an_event_of_a_newer_schema_is_kept_but_not_understood() -> None:
    line = b'{"kind": "finished", "exit_code": 0, "schema": 2, "seq": 7, "time": 3}'
    event = decode_event(line)
    assert isinstance(event, UnknownEvent)
    assert (event.original_kind, event.seq, event.fields["exit_code"]) == ("finished", 7, 0)


@pytest.mark.usefixtures("troubled")
@pytest.mark.parametrize("threads", ["1", "2"])
def test_another_environment_is_named_when_a_run_goes_on(
    begin: Begin, monkeypatch: pytest.MonkeyPatch, threads: str
) -> None:
    run = begin("troubled", trouble="killed")
    assert launch.wait(run) is not None
    monkeypatch.setenv("TROUBLED_THREADS", threads)
    launch.resume(run)
    launch.wait(run)
    told = [event.message for event in run.events() if isinstance(event, Alert) and event.code == "resume_not_exact"]
    words = "goes on from step-00000001 with threads 2 instead of 1: not to the same bits"
    assert told == ([words] if threads == "2" else [])


def test_a_run_goes_on_from_another_directory(tmp_path: Path, folded: Folded) -> None:
    """Relative paths in its config stay those of the directory that it was begun in."""
    home, elsewhere, start = tmp_path / "home", tmp_path / "elsewhere", tmp_path / "home" / "start"
    start.mkdir(parents=True)
    elsewhere.mkdir()
    (start / "echo.json").write_text('{"steps_done": 9, "sum": 100.0}')

    def rlhf(*arguments: str, cwd: Path) -> None:
        command = [str(Path(sys.executable).with_name("rlhf")), *arguments]
        subprocess.run(command, cwd=cwd, check=True, capture_output=True, env=os.environ | {"RLHF_RUNS": ""})

    settings = ["echo.model=start", "echo.steps=40", "echo.delay_seconds=0.05", "echo.checkpoint_every=1"]
    rlhf("run", "echo", "--detach", "--name", "far", *(part for s in settings for part in ("--set", s)), cwd=home)
    (run,) = [RunDir(path) for path in (home / "runs").iterdir()]
    while not list_checkpoints(run.checkpoints):
        pass
    launch.send_signal(run, signal.SIGKILL)
    assert launch.wait(run) is not None and run.state() is State.KILLED
    rlhf("resume", "far", "--runs", str(home / "runs"), cwd=elsewhere)
    assert run.state() is State.FINISHED
    steps = folded(run)
    assert len(steps) == 40 and steps[1]["echo/sum"] == 100.0 + steps[1]["echo/score"]
