"""The records of a run directory that are replaced whole: `run.json`, `status.json`, `exit.json`, `job.json`."""

from __future__ import annotations

import signal
from typing import Any, TypeVar

import msgspec

from rlhf_sdk.bounds import check_depth
from rlhf_sdk.exit_codes import ExitCode
from rlhf_sdk.pace import AttemptOptions
from rlhf_sdk.scrubbing import scrub
from rlhf_sdk.states import State
from rlhf_sdk.trainer import UserError

SCHEMA = 1


class Distribution(msgspec.Struct, frozen=True):
    """The installed package that a plugin came from."""

    name: str
    version: str


class GitRevision(msgspec.Struct, frozen=True):
    """The commit of the code that runs; `dirty` if the working tree differs from it."""

    revision: str
    dirty: bool


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`run.json`: what was asked for, written once.

    `config` is complete and keeps references ("run:ID@step-00000120") as they were pinned; `provenance` says for each
    dotted key where its value came from; `parents` maps a role or stage to the run whose checkpoint it is; `strict`: a
    sanity light that fails ends the run; `created` is Unix time in seconds; relative paths in `config` are meant from
    `cwd`.
    """

    schema: int = SCHEMA
    id: str
    name: str = ""
    plugin: str
    distribution: Distribution | None = None
    profile: str = ""
    config: dict[str, Any]
    provenance: dict[str, str] = {}
    seed: int = 0
    versions: dict[str, str] = {}
    git: GitRevision | None = None
    parents: dict[str, str] = {}
    strict: bool = False
    pipeline: str | None = None
    stage: str | None = None
    created: float
    argv: list[str] = []
    cwd: str = ""


class ProcessIdentity(msgspec.Struct, frozen=True):
    """A process that no later one can be mistaken for: its id, and when it started (in the system's own unit)."""

    pid: int
    start: str


class RunStatus(msgspec.Struct, frozen=True, kw_only=True):
    """`status.json`, written by the shim alone; `started` and `time` are Unix seconds.

    `directory` identifies the directory itself, so that a copy of a run that is alive is not taken as alive.
    """

    schema: int = SCHEMA
    state: State
    attempt: int
    started: float
    time: float
    host: str
    boot_id: str
    shim: ProcessIdentity
    worker: ProcessIdentity | None = None
    directory: str = ""
    options: AttemptOptions = AttemptOptions()
    reason: str = ""


class ExitRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`exit.json`, the shim's verdict on one attempt: `exit_code` is 128 + `signal` where a signal ended the worker."""

    schema: int = SCHEMA
    state: State
    attempt: int
    exit_code: int
    signal: int | None = None
    reason: str = ""
    time: float


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """`job.json`: where a launcher has placed the run, as whoever asked for it wrote it; none for a run started here.

    `job` is what the scheduler calls it, `attempt` the first that it makes, `submitted` Unix seconds. `ended` says how
    it ended before that attempt began, and `reason` why; None while it still may begin. `directory` identifies the
    run's directory itself: of a copy nothing is placed, and nobody's job is asked for or cancelled on its account.
    """

    schema: int = SCHEMA
    directory: str
    launcher: str
    options: dict[str, Any] = {}
    job: str
    attempt: int
    attempt_options: AttemptOptions = AttemptOptions()
    submitted: float
    ended: State | None = None
    reason: str = ""

    def is_ahead_of(self, status: RunStatus | None) -> bool:
        """Whether the attempt that it is for has not begun."""
        return self.attempt > (status.attempt if status else 0)

    @property
    def verdict(self) -> ExitRecord | None:
        """On the attempt that never began; None while it may."""
        if self.ended is None:
            return None
        code = ExitCode.PLUGIN_FAILED if self.ended is State.FAILED else 128 + signal.SIGTERM
        return ExitRecord(
            state=self.ended, attempt=self.attempt, exit_code=code, reason=self.reason, time=self.submitted
        )


Record = TypeVar("Record", RunRecord, RunStatus, ExitRecord, Placement)


def encode_record(record: RunRecord | RunStatus | ExitRecord | Placement) -> bytes:
    """Indented JSON, so that people can read it too, without keys and passwords."""
    return msgspec.json.format(msgspec.json.encode(scrub(msgspec.to_builtins(record))), indent=2) + b"\n"


def decode_record(data: bytes, kind: type[Record], source: str) -> Record:
    """The record in `data`, which came from the file `source`.

    Raises `UserError` on damage and on a schema newer than this version reads.
    """
    try:
        fields = msgspec.json.decode(data, type=dict[str, Any])
        check_depth(fields)
        schema = fields.get("schema", SCHEMA)
        if isinstance(schema, int) and schema > SCHEMA:
            raise UserError(f"{source} has schema {schema}; this version reads up to {SCHEMA}: upgrade rlhf-console")
        return msgspec.json.decode(data, type=kind)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{source} is damaged: {error}") from error
