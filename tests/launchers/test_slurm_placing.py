"""What Slurm is told, how a run that waits looks, and how it is taken back: with commands that write down."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from rlhf_console.runs.index import RunIndex
from rlhf_sdk import launch
from rlhf_sdk.launching import placing
from rlhf_sdk.launching.asking import chosen, describe_launcher
from rlhf_sdk.launching.contract import Choice
from rlhf_sdk.pace import AttemptOptions
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.states import State
from rlhf_sdk.trainer import UserError
from stub_programs import Stub


def test_the_batch_script_asks_for_what_was_said(stub: Stub, echo: RunDir) -> None:
    options = {
        "partition": "gpu",
        "hours": 2,
        "grace_seconds": 120,
        "memory_gib": 64,
        "cpus": 12,
        "setup": ["module load x"],
    }
    choice = chosen("slurm", {**options, "setup": ["module load x"], "sbatch": {"reservation": "week"}})
    assert launch.begin(echo, AttemptOptions(processes=8, nodes=2), choice) == "4711"
    script = stub.script("4711")
    wanted = {"partition": "gpu", "time": "120", "nodes": "2", "ntasks-per-node": "1", "gpus-per-node": "8"}
    wanted |= {"cpus-per-task": "12", "mem": "65536MB", "reservation": "week", "job-name": echo.id}
    wanted |= {"signal": "USR1@120", "requeue": "", "chdir": echo.record().cwd}
    assert {name: script[name] for name in wanted} == wanted
    assert "export SUBMITIT_PREEMPT_SIGNAL=USR1\n" in script["all"] and "\nmodule load x\n" in script["all"]
    assert script["run"].startswith("srun ") and f"{sys.executable} -u -m submitit.core._submit" in script["run"]


def test_runs_placed_together_are_one_array(stub: Stub, root: Path, slurm: Choice) -> None:
    runs = [launch.create_run(root, plugin="echo", config={"seed": seed}, name=f"echo{seed}") for seed in range(3)]
    assert placing.place(runs, slurm, AttemptOptions(), at_most=2) == ["4711_0", "4711_1", "4711_2"]
    assert stub.script("4711")["array"] == "0-2%2"
    assert [placed.job for run in runs if (placed := run.placement())] == ["4711_0", "4711_1", "4711_2"]


def test_a_job_that_waits_is_queued_and_one_that_vanishes_has_failed(stub: Stub, echo: RunDir, slurm: Choice) -> None:
    launch.begin(echo, choice=slurm)
    stub.queue("4710|RUNNING|n1|None\n4711|PENDING||Priority\n")
    placing.look_after([echo])
    said = placing.job_state(echo)
    assert said is not None and (said.state, said.detail) == ("queued", "pending (Priority)")
    assert echo.state() is State.QUEUED and launch.verdict(echo) is None
    stub.queue("4710|RUNNING|n1|None\n")
    placing.look_after([echo])
    verdict = launch.verdict(echo)
    assert echo.state() is State.FAILED and verdict is not None and verdict.exit_code == 3
    assert "slurm job 4711 ended before the run began" in verdict.reason


def test_a_console_finds_out_what_became_of_runs_that_wait(stub: Stub, echo: RunDir, slurm: Choice) -> None:
    launch.begin(echo, choice=slurm)
    index = RunIndex(echo.root)

    async def watch() -> list[State | None]:
        seen = list[State | None]()
        while State.FAILED not in seen:
            await index.refresh()
            seen += [run.state for run in index.runs if run.state not in seen]
            await asyncio.sleep(0.01)
        return seen

    assert asyncio.run(asyncio.wait_for(watch(), 60)) == [State.QUEUED, State.FAILED]
    assert len(stub.told("asked")) == 1


def test_a_queue_that_can_not_be_asked_changes_nothing(stub: Stub, echo: RunDir, slurm: Choice) -> None:
    launch.begin(echo, choice=slurm)
    (stub.folder / "bin" / "squeue").write_text("#!/bin/sh\necho 'Unable to contact slurm controller' >&2; exit 1\n")
    placing.look_after([echo])
    said = placing.job_state(echo)
    assert echo.state() is State.QUEUED and said is not None and said.state == "unknown"
    assert "Unable to contact slurm controller" in said.detail


def test_a_run_that_waits_is_taken_back_and_placed_again(stub: Stub, echo: RunDir, slurm: Choice) -> None:
    launch.begin(echo, AttemptOptions(processes=2), slurm)
    assert placing.take_back(echo) == "slurm job 4711 is cancelled" and stub.told("cancelled") == ["4711"]
    verdict = launch.verdict(echo)
    assert echo.state() is State.STOPPED and verdict is not None and verdict.exit_code == 143
    assert placing.take_back(echo) == ""
    assert launch.resume(echo) is None and echo.state() is State.QUEUED
    assert stub.script("4712")["gpus-per-node"] == "2", "as many processes as before"
    with pytest.raises(UserError, match="is queued"):
        launch.resume(echo)


def test_a_run_that_goes_on_by_itself_is_not_placed_twice(stub: Stub, echo: RunDir, slurm: Choice) -> None:
    launch.start(echo, AttemptOptions(max_seconds=0.001))
    launch.wait(echo)
    assert echo.state() is State.REQUEUED
    launch.resume(echo, choice=slurm)
    assert echo.state() is State.QUEUED, "the attempt before has its verdict, and this one has not begun"
    stub.queue("4711|PENDING||BeginTime\n")
    assert placing.take_back(echo) and echo.state() is State.STOPPED
    launch.resume(echo, choice=Choice(launcher="local"))
    launch.wait(echo)
    assert echo.state() is State.FINISHED and echo.placement() is None


def test_what_slurm_refuses_leaves_the_run_as_it_was(stub: Stub, echo: RunDir, slurm: Choice) -> None:
    (stub.folder / "bin" / "sbatch").write_text("#!/bin/sh\necho 'sbatch: error: invalid partition' >&2; exit 1\n")
    with pytest.raises(UserError, match="invalid partition"):
        launch.begin(echo, choice=slurm)
    assert echo.state() is State.CREATED and not echo.job_file.exists()


def test_a_launcher_that_is_unknown_or_asked_for_nonsense_says_what_is_near() -> None:
    with pytest.raises(UserError, match="Did you mean 'slurm'"):
        describe_launcher("slrum")
    with pytest.raises(UserError, match="Did you mean 'partition'"):
        chosen("slurm", {"partitoin": "gpu"})
