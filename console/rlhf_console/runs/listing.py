"""All runs of a root for a list on the command line: small files are read whole, of large ones the two ends."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rlhf_console.runs.fold import RunSummary, fold
from rlhf_console.runs.glance import RunHeading, read_heading
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_root import left_out, list_runs
from rlhf_sdk.states import State
from rlhf_sdk.trainer import UserError

READ_WHOLE_BYTES = 1 << 20
HEAD_BYTES = 64 << 10
NEWEST_EVENTS = 500


@dataclass(frozen=True)
class ListedRun:
    """`summary` has what the newest events of a long run say, not all that went before."""

    directory: RunDir
    record: RunHeading
    state: State
    summary: RunSummary


def listed_runs(root: Path) -> tuple[list[ListedRun], list[str]]:
    """Every readable run of the root, newest last, and what is wrong with the others."""
    runs, problems = list[ListedRun](), left_out(root)
    for directory in list_runs(root):
        try:
            runs.append(ListedRun(directory, read_heading(directory), directory.state(), glance(directory)))
        except UserError as error:
            problems.append(str(error))
        except OSError as error:
            problems.append(f"{error.filename or directory.path} can't be read: {error.strerror}")
    return sorted(runs, key=lambda run: (run.record.created, run.record.id)), problems


def glance(directory: RunDir) -> RunSummary:
    """What the events say; of a long file its beginning and its newest events. Raises `OSError`."""
    events = directory.events()
    if events.unread_bytes <= READ_WHOLE_BYTES:
        return fold(RunSummary(), [*events.read(), *directory.alerts().read()])
    beginning, newest = events.read(HEAD_BYTES), directory.last_events(NEWEST_EVENTS)
    known = beginning[-1].seq if beginning else 0
    summary = fold(RunSummary(), [*beginning, *(event for event in newest if event.seq > known)])
    summary.attempt = max((event.attempt for event in newest), default=summary.attempt)
    return summary
