"""Another value for a hyper-parameter of a run that lives."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from rlhf_console import plugins
from rlhf_console.printable import printable
from rlhf_console.runs.values import LiveValue, checked_value, live_values
from rlhf_console.tui.drawing.cells import Row, fit, join, spread, text_cells
from rlhf_console.tui.drawing.form import read
from rlhf_console.tui.widgets.pick_list import PickList
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.trainer import UserError


@dataclass(frozen=True)
class Change:
    """Another value, that the plugin would take."""

    key: str
    before: object
    after: object


class SetValueScreen(ModalScreen[Change]):
    """A list of what may be changed, with its values now; enter, a new value, enter again. None: nothing is changed.

    A value that is not allowed is refused here, in words.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Back", id="back")]
    CSS = """
    SetValueScreen { align: center middle; }
    SetValueScreen #box { width: 76; max-width: 96%; height: 20; max-height: 90%; padding: 0 1; }
    SetValueScreen #box { border: round $primary; }
    SetValueScreen Static { height: auto; }
    SetValueScreen PickList { height: 1fr; }
    SetValueScreen Input { height: 3; display: none; }
    """

    def __init__(self, run: RunDir) -> None:
        super().__init__()
        self._run = run
        self._values: list[LiveValue] = []

    def compose(self) -> ComposeResult:
        with Vertical(id="box"):
            yield Static(f"Values of {self._run.id} that may change now", id="about", markup=False)
            yield PickList(_row, lambda value: value.key, opens=True, id="values")
            yield Static("", id="help", markup=False)
            yield Input(id="new")

    def on_mount(self) -> None:
        self.query_one(PickList).focus()
        self._load()

    @work(thread=True)
    def _load(self) -> None:
        try:
            described = plugins.describe(self._run.record().plugin)
            values, problem = live_values(self._run, described), ""
        except UserError as error:
            values, problem = [], str(error)
        self.app.call_from_thread(self._show, values, problem or ("" if values else "nothing can be changed here"))

    def _show(self, values: list[LiveValue], problem: str) -> None:
        self._values = values
        self.query_one(PickList).show(values)
        self.query_one("#help", Static).update(printable(problem))
        self._explain()

    @on(PickList.Moved)
    def _explain(self) -> None:
        value = self.query_one(PickList).item
        if value is not None:
            self.query_one("#help", Static).update(f"{value.description}; allowed: {value.allowed}")

    @on(PickList.Opened)
    def _edit(self) -> None:
        value, field = self.query_one(PickList).item, self.query_one("#new", Input)
        if value is not None:
            field.display, field.value = True, json.dumps(value.now)
            field.focus()

    @on(Input.Submitted)
    def _chosen(self, message: Input.Submitted) -> None:
        value = self.query_one(PickList).item
        if value is not None:
            self.query_one("#help", Static).update("checking ...")
            self._check(value, read(message.value))

    @work(thread=True)
    def _check(self, value: LiveValue, wanted: object) -> None:
        """Aside: the plugin is asked in a process of its own."""
        try:
            change = Change(value.key, value.now, checked_value(self._run, value.key, wanted))
        except UserError as error:
            self.app.call_from_thread(self.query_one("#help", Static).update, printable(str(error)))
        else:
            self.app.call_from_thread(self.dismiss, change)

    def action_leave(self) -> None:
        field = self.query_one("#new", Input)
        if field.display:
            field.display = False
            self.query_one(PickList).focus()
        else:
            self.dismiss(None)


def _row(value: LiveValue, width: int) -> Row:
    changed = text_cells(f"was {value.at_start}", "dim") if value.now != value.at_start else []
    shown = join([changed, text_cells(json.dumps(value.now), "bold")])
    return fit(spread(text_cells(value.key), shown, width), width)
