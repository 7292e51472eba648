"""The list of runs: which columns fit a width, and one row for each run."""

from __future__ import annotations

from dataclasses import dataclass

from rlhf_console.headlines import Declared, shortest_names
from rlhf_console.runs.fold import RunSummary
from rlhf_console.runs.index import Glance
from rlhf_console.tui.drawing.cells import Row, fit, join, text_cells
from rlhf_console.tui.drawing.plot import OVERLAY_LOOK, marker, series_style
from rlhf_console.tui.drawing.scale import figure
from rlhf_console.tui.drawing.states import state_cells
from rlhf_sdk.states import State

WIDE, WIDER = 100, 140
BAR = 10
BRIEF_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


@dataclass(frozen=True)
class ListColumn:
    """A heading, and how many columns of the terminal it has."""

    heading: str
    width: int


def list_columns(width: int) -> list[ListColumn]:
    """The columns that fit; the figures take what is left."""
    run, state, steps, left, age = 30, 11, 11, 10, 9
    if width < WIDE:
        columns = [("run", run - 3), ("state", state), ("step", steps - 1), ("when", left + 1)]
    elif width < WIDER:
        columns = [("run", run), ("plugin", 10), ("state", state), ("step", steps), ("left", left), ("age", age)]
    else:
        columns = [
            ("run", run + 4), ("plugin", 12), ("state", state), ("step", steps + 4), ("", BAR + 2), ("left", left),
            ("age", age),
        ]  # fmt: skip
    taken = sum(size for _, size in columns)
    return [ListColumn(*column) for column in [*columns, ("figures", max(width - taken, 0))]]


def heading_row(width: int) -> Row:
    return [cell for column in list_columns(width) for cell in fit(text_cells(column.heading, "dim"), column.width)]


def run_row(run: Glance, declared: Declared, width: int, now: float, *, mark: int | None = None) -> Row:
    """One run in `width` cells; `now` is Unix time, `mark` the place of a run that is marked."""
    summary = run.summary
    parts = {
        "run": _mark(mark) + _name(run),
        "plugin": text_cells(run.record.plugin, "dim"),
        "state": state_cells(run.state),
        "step": text_cells(steps_text(summary)),
        "": progress_bar(summary, BAR),
        "left": text_cells(left_text(run.state, summary)),
        "when": text_cells(left_text(run.state, summary) or f"{brief(now - run.record.created)} ago"),
        "age": text_cells(brief(now - run.record.created), "dim"),
    }
    row: Row = []
    for column in list_columns(width):
        if column.heading == "figures":
            return row + fit(_figures(declared, summary, column.width), column.width)
        row += fit(fit(parts[column.heading], max(column.width - 1, 0)), column.width)
    return row


def _figures(declared: Declared, summary: RunSummary, width: int) -> Row:
    """The headline with units if there is room for them; of a pipeline, what its stage does."""
    now = text_cells(doing(summary), "dim")
    if summary.children:
        return now
    with_units = join(headline_parts(declared, summary, units=True))
    if 0 < len(with_units) <= width:
        return with_units
    row: Row = []
    for part in headline_parts(declared, summary, units=False):
        row = longer if len(longer := join([row, part])) <= width else row
    return row or now


def headline_parts(declared: Declared, summary: RunSummary, *, units: bool) -> list[Row]:
    """Name and newest value of each of the metrics that matter."""
    names = [name for name in declared.headline if summary.latest(name) is not None]
    unit_of = {name: panel.unit for panel in declared.panels for name in panel.metrics if units}
    return [
        join(
            [
                text_cells(short, "dim"),
                text_cells(figure(summary.metrics[name].values[-1])),
                text_cells(unit_of.get(name, ""), "dim"),
            ],
            gap=1,
        )
        for short, name in zip(shortest_names(names), names, strict=True)
    ]


def _mark(mark: int | None) -> Row:
    """In the colour and with the sign that the run's lines have in other charts."""
    return [] if mark is None else text_cells(f"{marker(OVERLAY_LOOK + mark)} ", series_style(OVERLAY_LOOK + mark))


def _name(run: Glance) -> Row:
    if run.record.stage and run.record.pipeline:
        return text_cells("  └ ", "dim") + text_cells(run.record.stage)
    return text_cells(run.record.id, "bold")


def steps_text(summary: RunSummary) -> str:
    if not summary.total_steps:
        return str(summary.step) if summary.step else ""
    return f"{summary.step}/{summary.total_steps}"


def left_text(state: State | None, summary: RunSummary) -> str:
    """Time left of a run at work."""
    eta = summary.eta_seconds
    return brief(eta) if state is State.RUNNING and eta is not None else ""


def doing(summary: RunSummary) -> str:
    """What goes on within the step."""
    progress = summary.progress
    if progress is None:
        return ""
    return f"{progress.what} {progress.done}" + (f"/{progress.total}" if progress.total else "")


def progress_bar(summary: RunSummary, width: int) -> Row:
    if not summary.total_steps:
        return []
    done = min(max(round(width * summary.step / summary.total_steps), 0), width)
    return text_cells("━" * done, "accent") + text_cells("─" * (width - done), "dim")


def brief(seconds: float) -> str:
    """A duration in its largest unit: 45 s, 12 min, 3 h, 2 d."""
    whole = max(int(seconds), 0)
    size, unit = next((each for each in BRIEF_UNITS if whole >= each[0]), BRIEF_UNITS[-1])
    return f"{whole // size} {unit}"
