"""Runs that a launcher has placed: placed, looked after while they wait, and taken back."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from rlhf_sdk.files import write_atomically
from rlhf_sdk.foreign import check_tree
from rlhf_sdk.launching import asking
from rlhf_sdk.launching.contract import Choice, Job, JobState
from rlhf_sdk.pace import AttemptOptions
from rlhf_sdk.references import RUN_PREFIX, map_strings
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_record import Placement, encode_record
from rlhf_sdk.states import LIVE, RESUMABLE, State
from rlhf_sdk.trainer import UserError
from rlhf_sdk.whereabouts import directory_identity

JOB_MODULE = "rlhf_sdk.launching.job"
MAY_BEGIN = ("queued", "running")


def place(runs: Sequence[RunDir], choice: Choice, options: AttemptOptions, at_most: int = 0) -> list[str]:
    """Gives the runs' next attempts to a launcher, `at_most` at a time (0: all), and returns what it calls them.

    Raises `UserError` where it refuses; the runs are then as they were.
    """
    jobs = [job_of(run, options) for run in runs]
    names = asking.submit(choice, jobs, at_most)
    for run, job, name in zip(runs, jobs, names, strict=True):
        _write(
            run,
            Placement(
                directory=directory_identity(run.path),
                launcher=choice.launcher,
                options=choice.options,
                job=name,
                attempt=job.attempt + 1,
                attempt_options=job.options,
                submitted=time.time(),
            ),
        )
    return names


def job_of(run: RunDir, options: AttemptOptions) -> Job:
    """What a launcher is told. Raises `UserError` for a directory that can't be used."""
    check_tree(run.path)
    status, placed, record = run.status(), run.placement(), run.record()
    before = placed.attempt_options if placed else status.options if status else None
    wanted = options.as_before(before) if before else options
    path = str(run.path.absolute())
    encoded = msgspec.json.encode(wanted).decode()
    return Job(
        run=path,
        attempt=status.attempt if status else 0,
        command=[sys.executable, "-P", "-m", JOB_MODULE, path, "--options", encoded],
        cwd=record.cwd,
        options=wanted,
        parents=_parents(run.root, record.config),
    )


def _parents(root: Path, config: object) -> list[str]:
    """Directories of runs and checkpoints that a config refers to."""
    found = list[str]()

    def note(text: str) -> str:
        if text.startswith(RUN_PREFIX):
            name, _, step = text.removeprefix(RUN_PREFIX).partition("@")
            found.append(str(root.absolute() / name / "checkpoints" / step))
        return text

    map_strings(config, note)
    return list(dict.fromkeys(found))


def choice_of(run: RunDir) -> Choice | None:
    """The launcher that has placed it; None for a run that was started here."""
    placed = run.placement()
    return Choice(launcher=placed.launcher, options=placed.options) if placed else None


def forget(run: RunDir) -> None:
    """The run's next attempt begins here."""
    run.job_file.unlink(missing_ok=True)


def job_state(run: RunDir) -> JobState | None:
    """What the scheduler says now; None for a run that was started here."""
    return job_states([run]).get(run.id)


def look_after(runs: Iterable[RunDir]) -> None:
    """Asks the schedulers about runs that wait for their turn: one whose job has ended without beginning has failed."""
    waiting = {run.id: run for run in runs if run.state() is State.QUEUED}
    for run_id, said in job_states(waiting.values()).items():
        run, placed = waiting[run_id], waiting[run_id].placement()
        if placed is not None and said.state == "ended" and run.state() is State.QUEUED:
            reason = f"{placed.launcher} job {placed.job} ended before the run began"
            _end(run, placed, State.FAILED, f"{reason}: {said.detail}" if said.detail else reason)


def job_states(runs: Iterable[RunDir]) -> dict[str, JobState]:
    """What the schedulers say of runs that were placed, by run id; each is asked once."""
    asked: dict[bytes, list[tuple[RunDir, Placement]]] = {}
    for run in runs:
        placed = run.placement()
        if placed is not None:
            key = msgspec.json.encode((placed.launcher, placed.options), order="sorted")
            asked.setdefault(key, []).append((run, placed))
    found = dict[str, JobState]()
    for group in asked.values():
        first = group[0][1]
        choice = Choice(launcher=first.launcher, options=first.options)
        said = asking.states(choice, [placed.job for _, placed in group])
        found |= {run.id: state for (run, _), state in zip(group, said, strict=True)}
    return found


def take_back(run: RunDir) -> str:
    """Cancels the job of a run that waits to begin, or to go on, and says so; "" where none waits.

    Raises `UserError` where the scheduler refuses.
    """
    placed, choice, state = run.placement(), choice_of(run), run.state()
    if placed is None or choice is None or placed.ended or state in LIVE:
        return ""
    if state is not State.QUEUED and not (state in RESUMABLE and _may_begin(run)):
        return ""
    asking.cancel(choice, placed.job)
    said = f"{placed.launcher} job {placed.job} is cancelled"
    if state is State.QUEUED:
        _end(run, placed, State.STOPPED, f"{said} before the run began")
    return said


def refuse_second_job(run: RunDir) -> None:
    """Raises `UserError` for a run whose job is still to begin, or to go on by itself."""
    placed = run.placement()
    if placed is not None and placed.ended is None and _may_begin(run):
        raise UserError(f"run {run.id}: {placed.launcher} job {placed.job} is queued or at work; it goes on by itself")


def _may_begin(run: RunDir) -> bool:
    said = job_state(run)
    return said is not None and said.state in MAY_BEGIN


def _end(run: RunDir, placed: Placement, state: State, reason: str) -> None:
    _write(run, msgspec.structs.replace(placed, ended=state, reason=reason))


def _write(run: RunDir, placed: Placement) -> None:
    try:
        write_atomically(run.job_file, encode_record(placed))
    except OSError as error:
        raise UserError(f"{run.job_file} can't be written: {os.strerror(error.errno or 0)}") from error
