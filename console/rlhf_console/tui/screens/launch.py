"""Starting a run: which plugin, with which profile."""

from __future__ import annotations

from pathlib import Path
from threading import Thread
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Input

from rlhf_console.printable import printable
from rlhf_console.runs.launching import Choice, Draft, choices, with_answers
from rlhf_console.tui.drawing.cells import fit, text_cells
from rlhf_console.tui.drawing.form import choice_row
from rlhf_console.tui.screens.form import FormScreen
from rlhf_console.tui.widgets.cells import Cells
from rlhf_console.tui.widgets.key_bar import KeyBar
from rlhf_console.tui.widgets.pick_list import PickList

REFRESH_SECONDS = 0.5


class LaunchScreen(Screen[str]):
    """A list of what can be run; enter opens the form. Ends with the id of the run that was started, if any."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter", id="filter"),
        Binding("escape", "back", "Back", id="back"),
    ]
    CSS = """
    #title { height: 1; }
    #words { height: 1; border: none; padding: 0; display: none; }
    """

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root = root
        self._choices: list[Choice] = []
        self._words = ""

    def compose(self) -> ComposeResult:
        yield Cells(id="title")
        yield PickList(choice_row, lambda choice: (choice.plugin, choice.profile), opens=True, id="choices")
        yield Input(placeholder="words of plugin or profile", id="words")
        yield KeyBar()

    def on_mount(self) -> None:
        self.call_after_refresh(self._say, "What to run")
        self.query_one("#choices").focus()
        self._choices = choices()
        self._draw_choices()
        self.set_interval(REFRESH_SECONDS, self._draw_choices)
        Thread(target=self._ask_plugins, daemon=True).start()

    def _ask_plugins(self) -> None:
        """Aside, in a thread that nobody waits for at the end: a plugin may hang."""
        for told in with_answers(self._choices):
            self._choices = told

    def _draw_choices(self) -> None:
        words = self._words.lower().split()
        shown = [choice for choice in self._choices if all(word in choice.name for word in words)]
        self.query_one("#choices", PickList).show(shown)

    def _say(self, text: str, style: str = "title") -> None:
        self.query_one("#title", Cells).show([fit(text_cells(text, style), self.size.width)])

    @on(PickList.Opened, "#choices")
    def _chosen(self, message: PickList.Opened) -> None:
        choice = message.source.item
        if isinstance(choice, Choice) and choice.problem:
            self._say(choice.problem, "alarm")
            self.notify(printable(choice.problem), severity="error", markup=False)
        elif isinstance(choice, Choice):
            self.app.push_screen(FormScreen(Draft(choice, self._root)), self._ended)

    def _ended(self, started: str | None) -> None:
        """Back to the list of runs where one was started."""
        if started:
            self.dismiss(started)

    def action_filter(self) -> None:
        field = self.query_one("#words", Input)
        field.display = True
        field.focus()

    @on(Input.Changed, "#words")
    def _words_changed(self, message: Input.Changed) -> None:
        self._words = message.value
        self._draw_choices()

    @on(Input.Submitted, "#words")
    def _leave_field(self) -> None:
        self.query_one("#words", Input).display = False
        self.query_one("#choices").focus()

    def action_back(self) -> None:
        if self.query_one("#words", Input).display:
            self._leave_field()
        else:
            self.dismiss("")
