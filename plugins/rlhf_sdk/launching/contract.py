"""What a launcher declares about itself, and what it is asked to do. Reading the declaration imports no scheduler."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import msgspec

from rlhf_sdk.pace import AttemptOptions

LAUNCHER_CONTRACT = 1
SUBMIT_SECONDS = 600.0
"""How long a submission may take: to a cloud it uploads data."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One run to place.

    `run` is its directory, `attempt` the newest that it has had; `command` makes the next one wherever it is called and
    ends with the run's exit code, 75 where it shall be called again; `cwd` is where relative paths are meant from.
    `options.processes` of them on each of `options.nodes` machines train together (0: one). `parents` are directories
    of the runs and checkpoints that its config refers to.
    """

    run: str
    attempt: int
    command: list[str]
    cwd: str
    options: AttemptOptions = AttemptOptions()
    parents: list[str] = []

    @property
    def name(self) -> str:
        """The run's id."""
        return self.run.rpartition("/")[2]


JobKind = Literal["queued", "running", "ended", "unknown"]


class JobState(msgspec.Struct, frozen=True, kw_only=True):
    """What the scheduler says of a job: where it runs, and in its own words why it waits or how it ended.

    "unknown" where it can't be asked: nothing follows from that.
    """

    state: JobKind
    host: str = ""
    detail: str = ""


class Launcher(Protocol):
    """Made anew for each call, without arguments. Every method may raise `UserError` with what a person should read."""

    def submit(self, jobs: Sequence[Job], options: Any, at_most: int) -> list[str]:
        """Places each job and returns its name with the scheduler; `at_most` at a time, if that is not 0."""
        ...

    def states(self, names: Sequence[str], options: Any) -> list[JobState]: ...

    def cancel(self, name: str, options: Any) -> None: ...


class LauncherSpec(msgspec.Struct, frozen=True, kw_only=True):
    """An entry point in the group `rlhf.launchers` names one of these.

    `options` is a frozen `msgspec.Struct` type whose fields carry constraints and help, like a trainer's config;
    `launcher` is "module:attribute", imported only to place, ask or cancel. `arrays`: `submit` takes several jobs and
    keeps to `at_most`; `meets`: it brings several machines together itself, so that nobody needs to say where.
    """

    name: str
    summary: str
    options: type
    launcher: str
    arrays: bool = False
    meets: bool = False
    contract: int = LAUNCHER_CONTRACT


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """A launcher by name, with its options complete and validated."""

    launcher: str
    options: dict[str, Any] = {}


LOCAL = Choice(launcher="local")
"""A process of this machine, started at once."""
