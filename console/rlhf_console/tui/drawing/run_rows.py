"""The list of runs: which columns fit a width, one row for each run, and a line about the one under the cursor."""

from __future__ import annotations

from dataclasses import dataclass

from rlhf_console.headlines import Declared, shortest_names
from rlhf_console.runs.fold import RunSummary
from rlhf_console.runs.glance import Glance
from rlhf_console.runs.sweep_tree import TOP, Place
from rlhf_console.runs.tags import MARK
from rlhf_console.scale import figure
from rlhf_console.tui.drawing.cells import Row, fit, join, text_cells
from rlhf_console.tui.drawing.gauges import memory_bar, progress_bar, sparkline
from rlhf_console.tui.drawing.lines import OVERLAY_LOOK, marker, series_style
from rlhf_console.tui.drawing.states import SEVERITY_LOOKS, state_cells
from rlhf_sdk.states import State

WIDE, WIDER, WIDEST = 100, 120, 160
BAR, MEMORY, TREND = 10, 10, 10
BRIEF_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
NARROW_COLUMNS = {"run": 27, "!": 2, "state": 11, "step": 10, "when": 11}
WIDE_COLUMNS = {"run": 29, "!": 2, "plugin": 10, "state": 11, "step": 11, "left": 9, "age": 8}
WIDER_COLUMNS = WIDE_COLUMNS | {"memory": MEMORY + 1, "trend": TREND + 1}
WIDEST_COLUMNS = WIDER_COLUMNS | {"run": 34, "!": 12, "plugin": 12, "step": 13, "": BAR + 2}
ORDER = ("run", "!", "plugin", "state", "step", "", "left", "when", "age", "memory", "trend")
"""From left to right; the figures follow and take what is left."""


@dataclass(frozen=True)
class ListColumn:
    """A heading, and how many columns of the terminal it has."""

    heading: str
    width: int


def list_columns(width: int) -> list[ListColumn]:
    """The columns that fit; the figures take what is left."""
    widths = NARROW_COLUMNS
    for least, columns in ((WIDE, WIDE_COLUMNS), (WIDER, WIDER_COLUMNS), (WIDEST, WIDEST_COLUMNS)):
        widths = columns if width >= least else widths
    shown = [ListColumn(heading, widths[heading]) for heading in ORDER if heading in widths]
    return [*shown, ListColumn("figures", max(width - sum(widths.values()), 0))]


def heading_row(width: int) -> Row:
    return [cell for column in list_columns(width) for cell in fit(text_cells(column.heading, "dim"), column.width)]


def run_row(
    run: Glance, declared: Declared, width: int, now: float, *, mark: int | None = None, place: Place = TOP
) -> Row:
    """One run in `width` cells; `now` is Unix time, `mark` the place of a run that is marked."""
    summary, age = run.summary, brief(now - run.record.created)
    parts = {
        "run": mark_cells(mark) + _name(run, place),
        "!": _alert(run, whole=width >= WIDEST),
        "plugin": text_cells(run.record.plugin, "dim"),
        "state": state_cells(run.state),
        "step": text_cells(steps_text(summary)),
        "": progress_bar(summary, BAR),
        "left": text_cells(left_text(run.state, summary)),
        "when": text_cells(left_text(run.state, summary) or f"{age} ago"),
        "age": text_cells(age, "dim"),
        "memory": memory_bar(run.memory, MEMORY),
        "trend": sparkline(run.trend.values(declared.headline[0]), TREND) if declared.headline else [],
    }
    row: Row = []
    for column in list_columns(width):
        if column.heading == "figures":
            tags = tag_cells(run.tags) if width >= WIDE else []
            room = max(column.width - len(tags) - 2, 0) if tags else column.width
            return row + fit(join([tags, _figures(declared, summary, room)]), column.width)
        row += fit(fit(parts[column.heading], max(column.width - 1, 0)), column.width)
    return row


def about_row(run: Glance, width: int) -> Row:
    """What the list has no room for: tags, profile, and which runs this one came from."""
    record = run.record
    lineage = join([text_cells("←" if record.parents else "", "dim"), *map(_parent, record.parents.items())], gap=1)
    profile = text_cells(f"profile {record.profile}" if record.profile else "", "dim")
    alert = text_cells(f"{run.alert.message}" if run.alert else "", "warn")
    return fit(join([text_cells(record.id, "bold"), tag_cells(run.tags), lineage, alert, profile]), width)


def _parent(parent: tuple[str, str]) -> Row:
    """The run, and what is used of it."""
    key, run_id = parent
    return text_cells(run_id) + text_cells(f" ({key.removesuffix('.path')})", "dim")


def tag_cells(tags: tuple[str, ...]) -> Row:
    return text_cells(" ".join(f"{MARK}{tag}" for tag in tags), "accent")


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


def mark_cells(mark: int | None) -> Row:
    """In the colour and with the sign that the run's lines have in other charts."""
    return [] if mark is None else text_cells(f"{marker(OVERLAY_LOOK + mark)} ", series_style(OVERLAY_LOOK + mark))


def _name(run: Glance, place: Place) -> Row:
    """A stage by its own name."""
    if place.depth and run.record.stage and run.record.pipeline:
        return branch_cells(place) + text_cells(run.record.stage)
    return branch_cells(place) + text_cells(run.record.id, "bold")


def branch_cells(place: Place) -> Row:
    """How deep an item stands; of one with others below it whether these are shown."""
    branch = text_cells("  " * (place.depth - 1) + "└ " if place.depth else "", "dim")
    if place.below:
        return text_cells(f"▸ {place.below} " if place.folded else "▾ ", "dim") + branch
    return text_cells("  " if place.depth else "") + branch


def _alert(run: Glance, *, whole: bool) -> Row:
    """The sign of the newest serious alert; where there is room, what it is about."""
    if run.alert is None:
        return []
    label, style = SEVERITY_LOOKS[run.alert.severity]
    return text_cells(f"{label[0]} {run.alert.code}" if whole else label[0], style)


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


def brief(seconds: float) -> str:
    """A duration in its largest unit: 45 s, 12 min, 3 h, 2 d."""
    whole = max(int(seconds), 0)
    size, unit = next((each for each in BRIEF_UNITS if whole >= each[0]), BRIEF_UNITS[-1])
    return f"{whole // size} {unit}"
