"""A run once more, from every screen where one is in focus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType

from rlhf_console.again import Again, ways_of
from rlhf_console.printable import printable
from rlhf_console.runs.launching import draft_again
from rlhf_console.tui.screens.choose import ChooseScreen
from rlhf_console.tui.screens.controlled import ControlledScreen
from rlhf_console.tui.screens.form import FormScreen
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.trainer import UserError


class RepeatingScreen(ControlledScreen):
    """A subclass may have several runs in focus: a pipeline, and the stage that is shown."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("L", "again", "Launch again, or fork", show=False, id="again")]

    def runs_to_repeat(self) -> Sequence[RunDir]:
        run = self.run_in_focus()
        return [run] if run is not None else []

    def action_again(self) -> None:
        """From where; then the form, with what differs."""
        try:
            ways = [way for run in self.runs_to_repeat() for way in ways_of(run, run.root)]
        except UserError as error:
            self.notify(printable(str(error)), severity="error", markup=False)
            return
        if ways:
            self.app.push_screen(ChooseScreen("A new run:", ways, lambda way: way.name), self._chosen)

    def _chosen(self, way: Again | None) -> None:
        if way is not None:
            self.app.push_screen(FormScreen(draft_again(way, way.run.root)), self.started)

    def started(self, run_id: str | None) -> None:
        """The form was left; a subclass may show the run that was started."""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if self.readonly and action == "again":
            return False
        return super().check_action(action, parameters)
