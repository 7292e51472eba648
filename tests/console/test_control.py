"""pause, resume, checkpoint, stop, set and sample as their users have them: several runs, from another shell."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from rlhf_console.durations import attempt_options, seconds_of
from rlhf_console.runs.store import find
from rlhf_sdk import launch
from rlhf_sdk.liveness import identity_of, is_alive
from rlhf_sdk.pace import AttemptOptions
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_root import list_runs
from rlhf_sdk.trainer import UserError

PROFILE = str(Path(__file__).parent / "echo_profile.toml")
Done = subprocess.CompletedProcess[str]


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path) -> Iterator[None]:
    """A test that failed leaves no process."""
    yield
    for run in list_runs(tmp_path):
        with suppress(UserError):
            launch.send_signal(run, signal.SIGKILL)


def rlhf(root: Path, *arguments: str) -> Done:
    environment = os.environ | {"RLHF_RUNS": str(root), "NO_COLOR": "1"}
    command = [sys.executable, "-m", "rlhf_console", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, cwd="/")


def start(root: Path, *names: str, steps: int = 2000, delay: float = 0.2) -> None:
    for name in names:
        settings = ["--set", f"echo.steps={steps}", "--set", f"echo.delay_seconds={delay}"]
        started = rlhf(root, "run", "echo", *settings, "--name", name, "--detach")
        assert started.returncode == 0, started.stderr


def states(root: Path) -> list[str]:
    return [run["state"] for run in json.loads(rlhf(root, "ls", "--json").stdout)]


def answers(done: Done) -> list[tuple[str, str]]:
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return [(answer["command"], answer["outcome"]) for answer in found]


def test_two_runs_from_pause_to_stop(tmp_path: Path) -> None:
    start(tmp_path, "a", "b")
    assert answers(rlhf(tmp_path, "set", "a", "b", "weight=2.5", "text=good day", "--json")) == [("set", "done")] * 4
    assert answers(rlhf(tmp_path, "pause", "a", "b", "--json")) == [("pause", "done")] * 2
    assert states(tmp_path) == ["paused", "paused"]
    config = [line.split() for line in rlhf(tmp_path, "show", "a").stdout.splitlines()]
    assert ["weight", "2.500", "rlhf", "set,", "after", "step"] in [line[:6] for line in config]
    again = rlhf(tmp_path, "pause", "a")
    assert (again.returncode, "pause ignored: the run is paused already" in again.stderr) == (0, True)
    sampled = rlhf(tmp_path, "sample", "a", "--prompt", "one", "--prompt", "two")
    assert [line.split()[1] for line in sampled.stdout.splitlines() if "response" in line] == ["one", "two"]
    assert "good day" in rlhf(tmp_path, "sample", "b").stdout
    saved = rlhf(tmp_path, "checkpoint", "a", "b").stdout.split()
    assert saved[1].startswith("step-") and saved[3].startswith("step-")
    assert rlhf(tmp_path, "resume", "a", "b").stdout.count("\n") == 2
    stopped = rlhf(tmp_path, "stop", "a", "b")
    assert (stopped.returncode, stopped.stdout.count(" stopped\n")) == (0, 2), stopped.stderr
    refused = rlhf(tmp_path, "pause", "a")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "is stopped: there is no process to obey" in refused.stderr


def test_one_refusal_does_not_keep_the_others_from_being_asked(tmp_path: Path) -> None:
    start(tmp_path, "short", steps=1, delay=0)
    start(tmp_path, "long")
    deadline = time.monotonic() + 30
    while states(tmp_path)[0] != "finished":
        assert time.monotonic() < deadline
    done = rlhf(tmp_path, "pause", "short", "long", "--release")
    assert done.returncode == 2 and "finished: there is no process" in done.stderr
    assert done.stdout.strip().endswith("released") and states(tmp_path) == ["finished", "released"]
    unknown = rlhf(tmp_path, "stop", "long", "lnog")
    assert unknown.returncode == 2 and "no run 'lnog'" in unknown.stderr


def test_what_can_not_be_set_is_said_with_what_can(tmp_path: Path) -> None:
    start(tmp_path, "a")
    misspelt = rlhf(tmp_path, "set", "a", "wieght=2")
    assert misspelt.returncode == 2 and "unknown key 'wieght'. Did you mean 'weight'?" in misspelt.stderr
    beyond = rlhf(tmp_path, "set", "a", "weight=11")
    assert beyond.returncode == 2 and "weight = 11: must be a number >= 0 and <= 10" in beyond.stderr
    assert "live are: text" in rlhf(tmp_path, "set", "a", "steps=3").stderr
    assert rlhf(tmp_path, "set", "a").returncode == 2
    asked = rlhf(tmp_path, "set", "a", "weight=3", "--no-wait")
    assert (asked.returncode, asked.stdout) == (0, "") and asked.stderr.startswith("asked a-")
    rlhf(tmp_path, "stop", "a")


def test_of_a_pipeline_the_stage_at_work_is_asked(tmp_path: Path) -> None:
    settings = ["--set", "echo.steps=2000", "--set", "echo.delay_seconds=0.1"]
    assert rlhf(tmp_path, "run", "pipeline", "-p", PROFILE, *settings, "--name", "pipe", "--detach").returncode == 0
    deadline = time.monotonic() + 30
    while "no stage" in (done := rlhf(tmp_path, "set", "pipe", "weight=2")).stderr:
        assert time.monotonic() < deadline
    assert done.returncode == 0 and ".echo weight 1 -> 2" in done.stdout, done.stderr
    assert rlhf(tmp_path, "pause", "pipe").stdout.strip().endswith("paused")
    assert states(tmp_path) == ["paused", "paused"]
    assert rlhf(tmp_path, "stop", "pipe").stdout.strip().endswith("stopped")
    assert states(tmp_path) == ["stopped", "stopped"]


def test_a_run_with_a_time_limit_exits_with_75_and_says_how_to_go_on(tmp_path: Path) -> None:
    settings = ["--set", "echo.steps=60", "--set", "echo.delay_seconds=0.1", "--set", "echo.seed=4"]
    done = rlhf(tmp_path, "run", "echo", *settings, "--name", "limited", "--max-time", "2s", "--checkpoint-every", "3")
    assert done.returncode == 75 and "requeued" in done.stderr and "--max-time" in done.stderr
    (run,) = tmp_path.glob("limited-*")
    status = RunDir(run).status()
    assert status is not None and status.options == AttemptOptions(max_seconds=2.0, checkpoint_steps=3)
    assert rlhf(tmp_path, "resume", "limited").returncode == 0


@pytest.mark.parametrize(("number", "code", "state"), [("SIGTERM", 143, "stopped"), ("SIGUSR1", 75, "requeued")])
def test_a_schedulers_signal_reaches_the_run_through_the_command(
    tmp_path: Path, number: str, code: int, state: str
) -> None:
    arguments = ["run", "echo", "--set", "echo.steps=500", "--set", "echo.delay_seconds=0.1", "--runs", str(tmp_path)]
    command = [sys.executable, "-m", "rlhf_console", *arguments]
    watching = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not any(len(run.last_events(3)) == 3 for run in list_runs(tmp_path)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)
    watching.send_signal(signal.Signals[number])
    assert "checkpoint" in watching.communicate(timeout=60)[1]
    (run,) = list_runs(tmp_path)
    assert (watching.returncode, run.state()) == (code, state)
    assert len(list(run.checkpoints.glob("step-*"))) == 1


TERMINAL = """
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.executable, [sys.executable, "-m", "rlhf_console", *sys.argv[1:]])
print(pid, flush=True)
while os.read(terminal, 1024):
    pass
"""


def test_a_terminal_that_is_closed_ends_the_command_and_not_the_run(tmp_path: Path) -> None:
    arguments = ["run", "echo", "--set", "echo.steps=30", "--set", "echo.delay_seconds=0.1", "--runs", str(tmp_path)]
    command = [sys.executable, "-c", TERMINAL, *arguments]
    terminal = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert terminal.stdout is not None
    watching = identity_of(int(terminal.stdout.readline()))
    deadline = time.monotonic() + 30
    while not list(tmp_path.glob("echo-*/events.jsonl")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    terminal.kill()
    terminal.communicate()
    while is_alive(watching):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (run,) = list_runs(tmp_path)
    status = run.status()
    assert status is not None and is_alive(status.worker) and is_alive(status.shim)
    verdict = launch.wait(run)
    assert verdict is not None and verdict.exit_code == 0
    assert not any(event.attempt > 1 or getattr(event, "state", "") == "stopped" for event in run.events())


def test_a_name_means_its_newest_run_and_no_copy_of_it(tmp_path: Path) -> None:
    older, newer = (launch.create_run(tmp_path, plugin="echo", config={}, name="mine") for _ in range(2))
    shutil.copytree(newer.path, tmp_path / "zz-copy")
    shutil.copytree(newer.path, tmp_path / "aa-copy")
    assert find(tmp_path, "mine").directory == newer
    assert find(tmp_path, "zz-copy").record.id == "zz-copy"
    assert find(tmp_path, older.id).directory == older


def test_durations_as_people_write_them() -> None:
    times = {"90s": 90, "10m": 600, "2h": 7200, "1h30m": 5400, "1.5h": 5400, "1d": 86400}
    assert {text: seconds_of(text, "--max-time") for text in times} == times
    for wrong in ("", "2", "h", "2hours", "-1h", "30m1h", "0s"):
        with pytest.raises(UserError, match=r"--max-time .* expected a duration"):
            seconds_of(wrong, "--max-time")
    assert attempt_options("2h", "50") == AttemptOptions(max_seconds=7200, checkpoint_steps=50)
    assert attempt_options("", "10m") == AttemptOptions(checkpoint_seconds=600)
    assert attempt_options("", "") == AttemptOptions()
    with pytest.raises(UserError, match="--checkpoint-every 0"):
        attempt_options("", "0")
