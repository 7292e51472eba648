"""submitit's own local executor: USR1 before the limit, a checkpoint, a requeue, and the bits of an undisturbed run."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from rlhf_plugins.launchers import SlurmOptions
from rlhf_plugins.launchers.slurm import SlurmLauncher
from rlhf_sdk import launch
from rlhf_sdk.commands import Stop
from rlhf_sdk.events import MetricsLogged, StateChanged
from rlhf_sdk.launching import placing
from rlhf_sdk.pace import AttemptOptions
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.states import State

SFT = {
    "model": {"init": {"hidden_size": 32, "layers": 1, "heads": 2, "max_positions": 256}},
    "tokenizer": {"train_vocab_size": 400, "word_level_split": True},
    "data": {"source": ["world"], "max_rows": 32, "max_prompt_tokens": 160, "max_response_tokens": 32},
    "eval_data": {"source": ["world"], "world_seed": 2, "max_rows": 4},
    "batch_size": 8, "micro_batch_size": 4, "max_steps": 12, "eval_every": 0, "threads": 1,
}  # fmt: skip


class OneMachine(SlurmLauncher):
    """Everything of the launcher but the cluster."""

    def executor(self, folder: Path, requeues: int) -> Any:
        os.environ["SUBMITIT_PREEMPT_SIGNAL"] = "USR1"
        import submitit

        return submitit.LocalExecutor(folder, max_num_timeout=requeues)


def until(true: Callable[[], bool], seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def place(run: RunDir, options: AttemptOptions = launch.NO_OPTIONS) -> None:
    OneMachine().submit([placing.job_of(run, options)], SlurmOptions(gpus=0), 0)


def weights(run: RunDir) -> str:
    newest = sorted(run.checkpoints.iterdir())[-1]
    return hashlib.sha256((newest / "model" / "model.safetensors").read_bytes()).hexdigest()


def steps(run: RunDir) -> int:
    return sum(isinstance(event, MetricsLogged) for event in run.events())


def attempts(run: RunDir) -> int:
    status = run.status()
    return status.attempt if status else 0


def task_of(run: RunDir) -> int:
    """submitit's process, which has started the run's shim."""
    status = run.status()
    assert status is not None
    return psutil.Process(status.shim.pid).ppid()


def finished(run: RunDir) -> bool:
    return run.state() is State.FINISHED


def test_a_job_that_is_told_to_leave_goes_on_to_the_same_bits(root: Path) -> None:
    straight, moved = (launch.create_run(root, plugin="sft", config=SFT) for _ in range(2))
    place(moved)
    until(lambda: steps(moved) >= 3)
    os.kill(task_of(moved), signal.SIGUSR1)
    launch.start(straight)
    until(lambda: finished(moved) and finished(straight))
    assert attempts(moved) == 2 and steps(moved) == steps(straight)
    assert weights(moved) == weights(straight)


def test_a_signal_to_every_process_requeues_once_and_so_does_time_that_is_over(root: Path) -> None:
    run = launch.create_run(root, plugin="echo", config={"steps": 40, "delay_seconds": 0.1})
    place(run, AttemptOptions(max_seconds=2.5))
    until(lambda: steps(run) >= 3)
    status = run.status()
    assert status is not None and status.worker is not None
    for pid in (status.worker.pid, status.shim.pid, task_of(run)):
        os.kill(pid, signal.SIGUSR1)
    until(lambda: finished(run))
    reasons = [event.reason for event in run.events() if isinstance(event, StateChanged) and event.state == "requeued"]
    assert reasons[0] == "checkpointed on SIGUSR1: run me again" and "--max-time" in reasons[1]
    assert attempts(run) == len(reasons) + 1 and steps(run) == 40


def test_a_cluster_that_sends_sigterm_first_requeues_too(root: Path) -> None:
    run = launch.create_run(root, plugin="echo", config={"steps": 20, "delay_seconds": 0.1})
    place(run)
    until(lambda: steps(run) >= 3)
    task = task_of(run)
    os.killpg(os.getpgid(run.status().shim.pid), signal.SIGTERM)  # type: ignore[union-attr]
    until(lambda: run.state() is State.STOPPED)
    os.kill(task, signal.SIGUSR1)
    until(lambda: finished(run))
    assert attempts(run) == 2 and steps(run) == 20


def test_a_run_that_is_stopped_is_not_begun_again_and_its_job_has_failed(root: Path) -> None:
    run = launch.create_run(root, plugin="echo", config={"steps": 500, "delay_seconds": 0.1})
    place(run)
    until(lambda: steps(run) >= 1)
    task = psutil.Process(task_of(run))
    launch.request(run, Stop())
    until(lambda: not task.is_running() or task.status() == psutil.STATUS_ZOMBIE)
    log = "".join(path.read_text() for path in (run.root / ".jobs" / run.id).glob("*_log.err"))
    assert run.state() is State.STOPPED and attempts(run) == 1
    assert f"run {run.id} ended with 143: stopped by command" in log
