"""Which charts a run has, and what is drawn in each."""

from __future__ import annotations

from collections.abc import Container, Sequence

from msgspec import structs

from rlhf_console.headlines import Declared, grouped_panels, shortest_names
from rlhf_console.runs.focus import OpenRun
from rlhf_console.runs.fold import RunSummary
from rlhf_console.runs.seed_mean import Track
from rlhf_console.runs.series import Series
from rlhf_console.tui.drawing.axes import Mark
from rlhf_console.tui.drawing.cells import Row, fit, spread, text_cells
from rlhf_console.tui.drawing.chart_options import Axis, ChartOptions
from rlhf_console.tui.drawing.derived import Derived
from rlhf_console.tui.drawing.legend import value_text
from rlhf_console.tui.drawing.lines import Line, marker, series_style
from rlhf_console.tui.drawing.places import place_on
from rlhf_console.tui.drawing.plot import Target
from rlhf_sdk.spec import Panel

MEMORY = "memory"
MEMORY_PLACE = 3
KL = "kl/sequence_nats"
CLIPPED_ERROR = 0.2
GIB = 2**30


def run_panels(run: OpenRun, declared: Declared) -> list[Panel]:
    """The plugin's panels that have data, memory behind the first few; grouped by name if there are none."""
    metrics = run.live.summary.metrics
    with_data = [panel for panel in declared.panels if any(name in metrics for name in panel.metrics)]
    shown = with_data or grouped_panels(list(metrics))
    if memory_series(run).steps:
        shown.insert(MEMORY_PLACE, memory_panel(run))
    return shown


def memory_panel(run: OpenRun) -> Panel:
    """Memory over steps."""
    return Panel(_memory_title(run), [MEMORY], "GiB")


class RunLines:
    """The lines of one run's panels, derived anew only where options have changed."""

    def __init__(self, run: OpenRun) -> None:
        self.run = run
        self._derived: dict[tuple[str, Axis, float], Derived] = {}

    def of(self, panel: Panel, options: ChartOptions, *, name: str = "", look: int | None = None) -> list[Line]:
        """A panel's metrics that were logged; each keeps its look, whichever others there are.

        With a `look` of its own the run is one of several, and its lines are called `name`.
        """
        lines = []
        for place, metric in enumerate(panel.metrics):
            series = self.series(metric)
            if series is not None:
                lines += self._lines(metric, series, options, name or metric, place if look is None else look)
        return lines

    def track(self, metric: str, options: ChartOptions) -> Track | None:
        """One metric as it is drawn, step by step; None where there is no value yet."""
        series = self.series(metric)
        if series is None or not series.steps:
            return None
        derived = self._derive(metric, series, options.axis, options.smoothing)
        return Track(series.steps, derived.xs, derived.values, derived.revision)

    def series(self, metric: str) -> Series | None:
        """What was logged; None for a metric that was not."""
        return memory_series(self.run) if metric == MEMORY else self.run.live.summary.metrics.get(metric)

    def unit(self, metric: str) -> float:
        """What a value is divided by to be shown."""
        return GIB if metric == MEMORY else 1.0

    def _lines(self, metric: str, series: Series, options: ChartOptions, name: str, look: int) -> list[Line]:
        raw = self._derive(metric, series, options.axis, 0.0)
        newest = raw.values[-1] if raw.values else None
        if not options.smoothing:
            return [Line(name, raw.xs, raw.values, look, newest=newest, revision=raw.revision)]
        smooth = self._derive(metric, series, options.axis, options.smoothing)
        faint = Line(name, raw.xs, raw.values, look, faint=True, revision=raw.revision)
        return [faint, Line(name, smooth.xs, smooth.values, look, newest=newest, revision=smooth.revision)]

    def _derive(self, metric: str, series: Series, axis: Axis, weight: float) -> Derived:
        key = (metric, axis, weight)
        if key not in self._derived:
            place = place_on(axis, self.run.live.summary)
            self._derived[key] = Derived(place, weight, unit=self.unit(metric))
        derived = self._derived[key]
        derived.follow(series)
        return derived


def panel_row(panel: Panel, lines: Sequence[Line], width: int) -> Row:
    """The title with the newest value of each line."""
    unit = text_cells(f" ({panel.unit})" if panel.unit else "", "dim")
    newest = [cell for line in lines if line.in_legend for cell in _newest(line)]
    return fit(spread(text_cells(f" {panel.title}") + unit, newest, width), width)


def _newest(line: Line) -> Row:
    return text_cells(f" {marker(line.look)} ", series_style(line.look)) + text_cells(value_text(line), "bold")


def marks_of(summary: RunSummary, axis: Axis) -> list[Mark]:
    """Checkpoints, pauses, values set by hand, alerts; later kinds cover earlier ones."""
    kinds: list[tuple[Sequence[tuple[int, float]], str, str]] = [
        ([(saved.step, saved.time) for saved in summary.checkpoints], "┴", "dim"),
        ([(pause.step, pause.time) for pause in summary.pauses], "‖", "warn"),
        ([(value.step, value.time) for value in summary.values_set], "◆", "accent"),
        ([(alert.step, alert.time) for alert in summary.alerts if alert.severity != "info"], "!", "alarm"),
    ]
    place = place_on(axis, summary)
    return [Mark(place(step, time), glyph, style) for events, glyph, style in kinds for step, time in events]


def target_of(run: OpenRun, panel: Panel) -> Target | None:
    """The KL that an adaptive coefficient is steered to, in the chart of the KL.

    Its band is where the coefficient changes in proportion to the error, which is clipped beyond (Ziegler et al. 2019).
    """
    config = run.live.record.config
    if KL not in panel.metrics or config.get("kl_control") != "adaptive":
        return None
    target = float(config["kl_target_nats_per_sequence"])
    return Target(target, target * (1 - CLIPPED_ERROR), target * (1 + CLIPPED_ERROR))


def memory_series(run: OpenRun) -> Series:
    """Bytes per step, as the phases told; from the machine's samples where they told nothing."""
    return run.live.summary.memory if run.live.summary.memory.steps else run.memory


def _memory_title(run: OpenRun) -> str:
    on_device = any("peak" in phase.memory for phase in run.live.summary.phases.values())
    return "Device memory, peak" if on_device else "Memory, RSS"


def one_by_one(panels: Sequence[Panel], logged: Container[str]) -> list[Panel]:
    """A panel for each metric that was logged, so that lines of one chart differ in what they are of alone."""
    told = [
        structs.replace(panel, metrics=[name for name in panel.metrics if name == MEMORY or name in logged])
        for panel in panels
    ]
    return [
        panel if len(panel.metrics) == 1 else Panel(f"{panel.title}: {name}", [metric], panel.unit)
        for panel in told
        for metric, name in zip(panel.metrics, shortest_names(panel.metrics), strict=True)
    ]
