"""Creates runs, starts them detached, resumes, signals and waits for them: for the console, the CLI and pipelines."""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlhf_sdk.commands import AnyCommand, Resume, send_command
from rlhf_sdk.discovery import distribution_of, find_plugin
from rlhf_sdk.files import make_private_directory, write_atomically
from rlhf_sdk.launching import placing
from rlhf_sdk.launching.contract import LOCAL, Choice
from rlhf_sdk.launching.shim_process import begin_attempt
from rlhf_sdk.liveness import is_alive, runs_here
from rlhf_sdk.pace import AttemptOptions
from rlhf_sdk.provenance import code_revision, installed_versions
from rlhf_sdk.references import pin
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_record import ExitRecord, RunRecord, RunStatus, encode_record
from rlhf_sdk.run_root import check_name, new_run_id
from rlhf_sdk.scrubbing import secret_places
from rlhf_sdk.states import ENDED, LIVE, RESUMABLE, State
from rlhf_sdk.trainer import UserError

NO_OPTIONS = AttemptOptions()


def create_run(
    root: Path,
    *,
    plugin: str,
    config: dict[str, Any],
    name: str = "",
    profile: str = "",
    provenance: Mapping[str, str] | None = None,
    parents: Mapping[str, str] | None = None,
    strict: bool = False,
    pipeline: str | None = None,
    stage: str | None = None,
    argv: Sequence[str] = (),
    cwd: str = "",
) -> RunDir:
    """A new run directory below `root`, not yet started.

    `config` is complete and validated; its "run:ID" references are pinned to checkpoints here, and added to `parents`
    by their dotted keys. With `strict` a sanity light that fails ends the run. A pipeline's stage is called
    `<pipeline>.<stage>`. Relative paths are meant from `cwd`, else from here.

    Raises `UserError` for an unknown plugin, a name that can't be used, a reference that leads nowhere, a key or
    password in the config, or a root that can't be written; nothing is left behind then.
    """
    refuse_secrets({**config, "--name": name})
    pinned, referenced = pin(root, config)
    run_id = f"{pipeline}.{check_name(stage)}" if pipeline and stage else new_run_id(name or plugin)
    record = RunRecord(
        id=run_id,
        name=name,
        plugin=plugin,
        distribution=distribution_of(find_plugin(plugin)),
        profile=profile,
        config=pinned,
        provenance=dict(provenance or {}),
        seed=int(config.get("seed", 0)),
        versions=installed_versions(),
        git=code_revision(),
        parents={**(parents or {}), **referenced},
        strict=strict,
        pipeline=pipeline,
        stage=stage,
        created=time.time(),
        argv=list(argv),
        cwd=cwd or str(Path.cwd()),
    )
    return _write_new(root, record)


def refuse_secrets(values: dict[str, Any]) -> None:
    """Raises `UserError` for a key or password in a config, naming where: a run can't work with a scrubbed value, and
    run.json must not keep the value itself."""
    for key, shown in secret_places(values):
        raise UserError(
            f"{key} = {shown!r} holds a key or password, which run.json would keep: plugins read keys from environment "
            "variables"
        )


def _write_new(root: Path, record: RunRecord) -> RunDir:
    """The directory is made aside and renamed, so that no reader sees a run without its record."""
    aside = RunDir(root / f".{record.id}.{secrets.token_hex(4)}.tmp")
    try:
        if not root.is_dir():
            make_private_directory(root)
        make_private_directory(aside.path)
        make_private_directory(aside.commands)
        write_atomically(aside.record_file, encode_record(record))
        return RunDir(aside.path.rename(root / record.id))
    except OSError as error:
        raise UserError(f"can't make a run in {root}: {error.strerror}") from error


def start(run: RunDir, options: AttemptOptions = NO_OPTIONS, variables: Mapping[str, str] | None = None) -> RunStatus:
    """Starts a run that was created, with these environment variables beside ours; returns once its shim has reported.

    Raises `UserError` if the run was started before, or can't be started.
    """
    state = run.state()
    if state is not State.CREATED:
        raise UserError(f"run {run.id} is {state}, so it can't be started; resume goes on with a run that ended early")
    _, status = begin_attempt(run, options, variables or {})
    return status


def resume(
    run: RunDir,
    options: AttemptOptions = NO_OPTIONS,
    variables: Mapping[str, str] | None = None,
    choice: Choice | None = None,
) -> RunStatus | None:
    """Goes on with a run: a held one is told to (returns None), an ended one gets a new attempt from its newest good
    checkpoint, here or (returns None) by `choice` of a launcher; without one, as the attempt before was.

    Raises `UserError` for a run that is finished, was never started, waits for its turn, or is at work, and for
    `options` or another `choice` to a held one.
    """
    state, before = run.state(), placing.choice_of(run) or LOCAL
    wanted = choice or before
    if state is State.PAUSED:
        if options != NO_OPTIONS or wanted != before:
            raise UserError(
                f"run {run.id} is paused, not ended, and goes on as it is: options are for a new attempt; stop it first"
            )
        send_command(run.commands, Resume())
        return None
    if state not in RESUMABLE:
        raise UserError(f"run {run.id} is {state}: there is nothing to resume")
    placing.refuse_second_job(run)
    if wanted != LOCAL:
        placing.place([run], wanted, options)
        return None
    placing.forget(run)
    _, status = begin_attempt(run, options, variables or {})
    return status


def begin(run: RunDir, options: AttemptOptions = NO_OPTIONS, choice: Choice = LOCAL) -> str:
    """Starts a run that was created, or has a launcher place it; returns what the launcher calls it, "" here.

    Raises `UserError` if that can't be.
    """
    if choice == LOCAL:
        start(run, options)
        return ""
    return placing.place([run], choice, options)[0]


def request(run: RunDir, command: AnyCommand) -> str:
    """Leaves a command for a run that has a worker, and returns the command's id.

    Raises `UserError` if the run has no process that could obey.
    """
    state = run.state()
    if state not in LIVE | {State.STALLED}:
        raise UserError(f"run {run.id} is {state}: there is no process to obey")
    return send_command(run.commands, command)


def send_signal(run: RunDir, number: signal.Signals) -> None:
    """Signals the worker, after a check that it is still the process that was started.

    Raises `UserError` if it isn't, or runs on another host.
    """
    status = run.status()
    if status is None or status.worker is None or not runs_here(status) or not is_alive(status.worker):
        raise UserError(f"run {run.id} has no worker on this host")
    os.kill(status.worker.pid if status.options.ranks == 1 else status.shim.pid, number)


def verdict(run: RunDir) -> ExitRecord | None:
    """The shim's verdict on the newest attempt, or the worker's own last words if the shim is gone.

    None while the attempt goes on, or when the run is lost.
    """
    written = run.exit()
    status = run.status()
    if written is not None or status is None or run.evidence().alive:
        return written
    said = run.final_words(status.attempt)
    if said is None:
        return None
    state, finished = said
    return ExitRecord(
        state=state,
        attempt=status.attempt,
        exit_code=finished.exit_code,
        reason=finished.reason,
        time=finished.time,
    )


def wait(run: RunDir, *, poll_seconds: float = 0.1) -> ExitRecord | None:
    """Blocks until the run has ended; None if it is lost."""
    while True:
        found, state = verdict(run), run.state()
        if found is not None:
            return found
        time.sleep(poll_seconds)
        if state is State.LOST or (state in ENDED and not run.evidence().alive):
            return verdict(run)
