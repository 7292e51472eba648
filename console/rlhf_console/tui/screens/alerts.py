"""The alerts of a run, newest first."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.widget import Widget

from rlhf_console.headlines import Declared
from rlhf_console.runs.focus import OpenRun
from rlhf_console.tui.drawing.alerts import alert_page, alert_row, alert_text
from rlhf_console.tui.drawing.cells import Row, text_cells
from rlhf_console.tui.drawing.places import step_when
from rlhf_console.tui.screens.keys import hint
from rlhf_console.tui.screens.view import GoToStep, View
from rlhf_console.tui.widgets.pick_list import PickList
from rlhf_console.tui.widgets.row_view import Page
from rlhf_sdk.events import Alert


class AlertsView(View):
    """One of them is chosen, and shown whole below; enter goes to its step in the charts."""

    TITLE = "Alerts"
    DEFAULT_CSS = """
    AlertsView Page { height: 40%; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._run: OpenRun | None = None

    def compose(self) -> ComposeResult:
        alerts: PickList[Alert] = PickList(
            self._row, lambda alert: (alert.time, alert.code), opens=True, text=alert_text
        )
        yield alerts
        yield Page()

    def main_widget(self) -> Widget:
        return self.query_one(PickList)

    @property
    def where(self) -> str:
        count = self.query_one(PickList).count
        return f"{count} alert{'s' if count != 1 else ''}" if count else ""

    def show(self, run: OpenRun, declared: Declared) -> None:
        self._run = run
        newest_first = sorted(run.live.summary.alerts, key=lambda alert: -alert.time)
        self.query_one(PickList).show(newest_first, follow_first=True)
        self._explain()

    @on(PickList.Moved)
    def _explain(self) -> None:
        chosen, page = self._chosen, self.query_one(Page)
        how = hint(self.screen, "open", "goes to that step in the charts")
        page.show(alert_page(chosen, max(self.size.width - 1, 1), how) if chosen else NOTHING)

    @property
    def _chosen(self) -> Alert | None:
        item = self.query_one(PickList).item
        return item if isinstance(item, Alert) else None

    def _row(self, alert: Alert, width: int) -> Row:
        return alert_row(alert, self._step(alert), width)

    def _step(self, alert: Alert) -> int:
        """What the shim says has no step of its own."""
        return alert.step or (step_when(alert.time, self._run.live.summary) if self._run else 0)

    @on(PickList.Opened)
    def _opened(self, message: PickList.Opened) -> None:
        message.stop()
        if self._chosen is not None:
            self.post_message(GoToStep(self._step(self._chosen)))


NOTHING: list[Row] = [text_cells("no alerts", "dim")]
