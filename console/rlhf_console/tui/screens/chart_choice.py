"""Which charts are shown, and how they were drawn last: kept for each plugin."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input

from rlhf_console.printable import printable
from rlhf_console.runs.focus import OpenRun
from rlhf_console.tui.drawing.chart_options import ChartOptions
from rlhf_console.tui.layouts import Layout, Layouts
from rlhf_console.tui.screens.chart_keys import ChartKeys
from rlhf_sdk.spec import Panel
from rlhf_sdk.trainer import UserError


class ChartChoice(ChartKeys):
    """All panels but those that are hidden, or not found by the filter; one is chosen, and may be enlarged."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter", show=False, id="filter"),
        Binding("h", "hide", "Hide this chart", show=False, id="hide-chart"),
        Binding("H", "show_hidden", "Show hidden charts", show=False, id="show-hidden-charts"),
    ]
    DEFAULT_CSS = "ChartChoice Input { height: 1; border: none; padding: 0; display: none; }"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.panels: list[Panel] = []
        self.chosen = 0
        self.enlarged = False
        self._layouts = Layouts()
        self._pattern = ""
        self._hidden: tuple[str, ...] = ()
        self._to_enlarge = ""

    def compose(self) -> ComposeResult:
        yield Input(placeholder="charts whose title or metrics match this regular expression", id="pattern")

    @property
    def panel(self) -> Panel | None:
        """The chosen one."""
        return self.panels[self.chosen] if self.panels else None

    def begin(self, run: OpenRun) -> None:
        """With the layout that the run's plugin had last; the chart to enlarge may be still to come."""
        self.run, self.chosen, self.enlarged = run, 0, False
        try:
            layout = self._layouts.of(run.live.record.plugin)
        except UserError as error:
            self._warn(error)
            layout = Layout()
        self.options, self._pattern, self._hidden = layout.options, layout.pattern, layout.hidden
        self._to_enlarge = layout.enlarged

    def choose_from(self, panels: Sequence[Panel]) -> None:
        self.panels = [panel for panel in panels if panel.title not in self._hidden and self._matches(panel)]
        titles = [panel.title for panel in self.panels]
        if self._to_enlarge in titles:
            self.chosen, self.enlarged, self._to_enlarge = titles.index(self._to_enlarge), True, ""
        self.chosen = min(self.chosen, max(len(self.panels) - 1, 0))

    def _matches(self, panel: Panel) -> bool:
        try:
            wanted = re.compile(self._pattern, re.IGNORECASE)
        except re.error:
            return True
        return any(wanted.search(text) for text in (panel.title, *panel.metrics))

    def in_words(self) -> str:
        """How charts are drawn, and which are left out, where that is not as usual."""
        filtered = f"/{self._pattern}/" if self._pattern else ""
        hidden = f"{len(self._hidden)} hidden" if self._hidden else ""
        return "  ".join(part for part in (self.options.in_words(), filtered, hidden) if part)

    def _keep(self) -> None:
        """For the next time that a run of this plugin is opened."""
        if self.run is None:
            return
        layout = Layout(
            smoothing=self.options.smoothing,
            log=self.options.log,
            axis=self.options.axis,
            pattern=self._pattern,
            enlarged=self.panel.title if self.enlarged and self.panel else "",
            hidden=self._hidden,
        )
        try:
            self._layouts.keep(self.run.live.record.plugin, layout)
        except UserError as error:
            self._warn(error)

    def _warn(self, error: UserError) -> None:
        self.notify(printable(str(error)), severity="warning", markup=False)

    def draw_with(self, options: ChartOptions) -> None:
        super().draw_with(options)
        self._keep()

    def action_enlarge(self) -> None:
        self.enlarged = not self.enlarged
        self.draw()
        self._keep()

    def action_hide(self) -> None:
        if self.panel:
            self._hidden, self.enlarged = (*self._hidden, self.panel.title), False
            self._keep()

    def action_show_hidden(self) -> None:
        self._hidden = ()
        self._keep()

    def action_filter(self) -> None:
        field = self.query_one("#pattern", Input)
        field.value, field.display = self._pattern, True
        field.focus()

    @on(Input.Changed, "#pattern")
    def _pattern_changed(self, message: Input.Changed) -> None:
        self._pattern, self.chosen = message.value, 0

    @on(Input.Submitted, "#pattern")
    def _pattern_chosen(self) -> None:
        self.query_one("#pattern", Input).display = False
        self.focus()
        self._keep()
