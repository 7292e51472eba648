"""What a run was asked to do, and how that differs from another run."""

from __future__ import annotations

from typing import ClassVar

from textual import work
from textual.binding import Binding, BindingType

from rlhf_console.headlines import Declared
from rlhf_console.printable import printable
from rlhf_console.runs.focus import OpenRun
from rlhf_console.runs.glance import RunHeading, other_headings
from rlhf_console.tui.drawing.cells import Row
from rlhf_console.tui.drawing.config import config_rows, difference_rows
from rlhf_console.tui.screens.choose import ChooseScreen
from rlhf_console.tui.screens.keys import hint
from rlhf_console.tui.screens.pages import PageView
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_record import RunRecord
from rlhf_sdk.run_root import find_run
from rlhf_sdk.trainer import UserError

MOST_OFFERED = 200


class ConfigView(PageView):
    """Every key with where its value came from; beside another run only what differs."""

    TITLE = "Config"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "all_keys", "All keys", id="all-keys"),
        Binding("b", "beside", "Beside another run", id="beside"),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._all_keys = False
        self._run: OpenRun | None = None
        self._other: RunRecord | None = None

    @property
    def where(self) -> str:
        return "beside another" if self._other else ""

    def show(self, run: OpenRun, declared: Declared) -> None:
        if run is not self._run:
            self._run, self._other = run, None
        super().show(run, declared)

    def rows(self, run: OpenRun, width: int) -> list[Row]:
        if self._other is not None:
            return difference_rows(run.live.record, self._other, width)
        now = {event.key: event.value for event in run.live.summary.values_set}
        how = hint(self.screen, "all-keys", "shows them")
        return config_rows(run.live.record, now, width, all_keys=self._all_keys, hint=how)

    def go_back(self) -> bool:
        was_beside, self._other = self._other is not None, None
        return was_beside

    def action_all_keys(self) -> None:
        self._all_keys = not self._all_keys

    def action_beside(self) -> None:
        if self._run is not None:
            self._find_others(self._run.live.directory, self._run.live.record.plugin)

    @work(thread=True)
    def _find_others(self, run: RunDir, plugin: str) -> None:
        """Aside: there may be thousands. Those of the same plugin come first, newest first."""
        found = sorted(other_headings(run), key=lambda heading: (heading.plugin != plugin, -heading.created))
        self.app.call_from_thread(self._offer, run, found[:MOST_OFFERED])

    def _offer(self, run: RunDir, headings: list[RunHeading]) -> None:
        if not headings:
            self.notify(f"there is no other run in {printable(str(run.root))}", severity="warning", markup=False)
            return

        def chosen(heading: RunHeading | None) -> None:
            if heading is not None:
                self._open(run, heading.id)

        question = f"Config of {run.id} beside that of"
        self.app.push_screen(ChooseScreen(question, headings, _heading_text), chosen)

    def _open(self, run: RunDir, other: str) -> None:
        try:
            self._other = find_run(run.root, other).record()
        except UserError as error:
            self.notify(printable(str(error)), severity="error", markup=False)


def _heading_text(heading: RunHeading) -> str:
    return "  ".join(part for part in (heading.id, heading.plugin, heading.profile) if part)
