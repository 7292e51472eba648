"""Following a run until it ends: a live bar for each stage on a terminal, plain lines elsewhere. All on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from rlhf_console.headlines import headline
from rlhf_console.printable import printable, styled_stderr
from rlhf_console.profiles import SWEEP
from rlhf_console.render import duration
from rlhf_console.runs.store import LiveRun, children_of
from rlhf_sdk import launch
from rlhf_sdk.exit_codes import ExitCode
from rlhf_sdk.states import ENDED, State

POLL_SECONDS = 0.5
LINE_EVERY_SECONDS = 10.0
WIDE = 110
"""Columns of a terminal with room for bars beside the figures."""
NAME, BAR = 12, 16
BESIDE_FIGURES = NAME + len("1000/1000 starting 59 min 59 s") + 4
"""What name, steps, state and time left take; figures get the rest, so that nothing else is squeezed."""


class Display(Protocol):
    """Shows the state of some runs, again and again."""

    def show(self, runs: list[LiveRun]) -> None: ...

    def say(self, text: str) -> None: ...


def doing(run: LiveRun) -> str:
    """What happens within the step now, where the run says so."""
    progress = run.summary.progress
    if progress is None:
        return ""
    return printable(f"{progress.what} {progress.done}" + (f"/{progress.total}" if progress.total else ""))


class PlainLines:
    """One line per run about every ten seconds, and at every change of state."""

    def __init__(self) -> None:
        self._shown: dict[str, tuple[str, int, float]] = {}

    def show(self, runs: list[LiveRun]) -> None:
        for run in runs:
            state, step = run.state, run.summary.step
            before = self._shown.get(run.record.id, ("", -1, 0.0))
            due = time.monotonic() - before[2] >= LINE_EVERY_SECONDS and step != before[1]
            if state != before[0] or due:
                self._shown[run.record.id] = (state, step, time.monotonic())
                self.say(_line(run, state))

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


def _line(run: LiveRun, state: State) -> str:
    summary = run.summary
    steps = f"step {summary.step}/{summary.total_steps}" if summary.total_steps else doing(run)
    left = f"ETA {duration(summary.eta_seconds)}" if state is State.RUNNING and summary.eta_seconds else ""
    parts = (printable(run.record.stage or run.record.id), state, steps, left, headline(run))
    return "  ".join(part for part in parts if part)


class LiveBars:
    """A bar for each run, redrawn in place by rich."""

    def __init__(self, progress: Any, columns: int) -> None:
        self._progress = progress
        self._figures_room = max(columns - BESIDE_FIGURES - (BAR if columns >= WIDE else 0), 8)
        self._tasks: dict[str, Any] = {}

    def show(self, runs: list[LiveRun]) -> None:
        for run in runs:
            if run.record.id not in self._tasks:
                name = run.record.stage or run.record.name or run.record.plugin
                fields = {"state": "", "headline": "", "left": ""}
                shown = shortened(printable(name), NAME)
                self._tasks[run.record.id] = self._progress.add_task(shown, total=None, **fields)
            summary, state = run.summary, run.state
            self._progress.update(
                self._tasks[run.record.id],
                total=summary.total_steps or None,
                completed=summary.step,
                state=state,
                left=duration(summary.eta_seconds) if state is State.RUNNING else "",
                headline=shortened(headline(run) or doing(run), self._figures_room),
            )

    def say(self, text: str) -> None:
        self._progress.console.print(printable(text), markup=False, emoji=False, highlight=False)


def shortened(text: str, room: int) -> str:
    """At most so many characters, the last one an ellipsis where some are left out."""
    return text if len(text) <= room else text[: room - 1] + "…"


@contextmanager
def display() -> Iterator[Display]:
    """Live bars where stderr is a capable terminal, plain lines elsewhere."""
    from rich.console import Console

    console = Console(stderr=True, file=styled_stderr())
    if not console.is_terminal or console.is_dumb_terminal:
        yield PlainLines()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn
    from rich.table import Column

    def text(field: str) -> ProgressColumn:
        return TextColumn(f"{{task.{field}}}", markup=False, table_column=Column(no_wrap=True))

    columns = [text("description"), MofNCompleteColumn(table_column=Column(no_wrap=True))]
    columns += [text("fields[state]"), text("fields[left]"), text("fields[headline]")]
    if console.width >= WIDE:
        columns.insert(1, BarColumn(bar_width=BAR))
    with Progress(*columns, console=console, refresh_per_second=4) as progress:
        yield LiveBars(progress, console.width)


def follow(root: Path, run: LiveRun, shown: Display) -> State:
    """Shows the run, or a pipeline's stages, until it has ended; returns how. A sweep's cells are too many."""
    stages: dict[str, LiveRun] = {}
    alerts_told: dict[str, int] = {}
    while True:
        state = run.state
        run.catch_up()
        if run.summary.children and run.record.plugin != SWEEP:
            stages |= {
                child.record.id: child for child in children_of(root, run.record.id) if child.record.id not in stages
            }
        watched = [stage.catch_up() for stage in stages.values()] or [run]
        shown.show(watched)
        for each in watched:
            _tell_alerts(each, alerts_told, shown)
        if state in ENDED or state is State.LOST:
            return state
        time.sleep(POLL_SECONDS)


def _tell_alerts(run: LiveRun, told: dict[str, int], shown: Display) -> None:
    known = told.get(run.record.id, 0)
    for alert in run.summary.alerts[known:]:
        shown.say(printable(f"{alert.severity}: {alert.message}" + (f" ({alert.advice})" if alert.advice else "")))
    told[run.record.id] = len(run.summary.alerts)


def exit_code_of(run: LiveRun) -> int:
    """The run's exit code: the shim's verdict."""
    found = launch.wait(run.directory)
    return found.exit_code if found else ExitCode.PLUGIN_FAILED
