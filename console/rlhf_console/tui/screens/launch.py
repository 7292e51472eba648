"""Starting a run: plugin and profile, a form of all its options, what it would need, and off."""

from __future__ import annotations

from pathlib import Path
from threading import Thread
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import Screen
from textual.widgets import ContentSwitcher, Footer, Input, Static

from rlhf_console.printable import printable
from rlhf_console.render import size
from rlhf_console.runs.launching import Choice, Draft, Entry, choices, with_problems
from rlhf_console.tui.drawing.cells import fit, text_cells
from rlhf_console.tui.drawing.form import choice_row, entry_row, plain, plan_peak, read
from rlhf_console.tui.screens.confirm import Confirm
from rlhf_console.tui.widgets.cells import Cells
from rlhf_console.tui.widgets.pick_list import PickList
from rlhf_sdk.trainer import UserError

REFRESH_SECONDS = 0.5


class LaunchScreen(Screen[None]):
    """First what, then how: enter changes a value, u puts the profile's back, f5 starts."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f5,ctrl+s", "start", "Start", id="start"),
        Binding("u", "undo", "Put back", id="put-back"),
        Binding("slash", "filter", "Filter", id="filter"),
        Binding("escape", "back", "Back", id="back"),
    ]
    CSS = """
    #title { height: 1; }
    ContentSwitcher, #choices, #entries { height: 1fr; }
    #words, #value { height: 1; border: none; padding: 0; display: none; }
    #help { height: 3; color: $text-muted; }
    """

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root = root
        self._draft: Draft | None = None
        self._choices: list[Choice] = []
        self._entries: list[Entry] = []
        self._words = ""

    def compose(self) -> ComposeResult:
        yield Cells(id="title")
        with ContentSwitcher(initial="choices"):
            yield PickList(choice_row, lambda choice: choice.name, opens=True, id="choices")
            with Vertical(id="form"):
                yield PickList(entry_row, lambda entry: entry.key, opens=True, id="entries")
                yield Static("", id="help", markup=False)
        yield Input(id="value")
        yield Input(placeholder="words in the key", id="words")
        yield Footer()

    def on_mount(self) -> None:
        self.call_after_refresh(self._say, "What to run")
        self.query_one("#choices").focus()
        self._choices = choices()
        self._draw_choices()
        self.set_interval(REFRESH_SECONDS, self._draw_choices)
        Thread(target=self._find_problems, daemon=True).start()

    def _find_problems(self) -> None:
        """Aside, in a thread that nobody waits for at the end: a plugin may hang."""
        for told in with_problems(self._choices):
            self._choices = told

    def _draw_choices(self) -> None:
        self.query_one("#choices", PickList).show(self._choices)

    def _say(self, text: str, style: str = "title") -> None:
        self.query_one("#title", Cells).show([fit(text_cells(text, style), self.size.width)])

    @on(PickList.Opened, "#choices")
    def _chosen(self, message: PickList.Opened) -> None:
        choice = message.source.item
        if isinstance(choice, Choice) and choice.problem:
            self._say(choice.problem, "alarm")
        elif isinstance(choice, Choice):
            self._resolve(Draft(choice, self._root))

    def _resolve(self, draft: Draft) -> None:
        self._draft = draft
        self._say(f"{draft.choice.name}: resolving ...")
        self.run_worker(lambda: self._ask(draft), thread=True)

    def _ask(self, draft: Draft) -> None:
        """Aside: the form's keys first, then the memory that the run would need."""
        try:
            self.app.call_from_thread(self._show, draft.entries())
            rows = draft.plan()
        except UserError as error:
            self.app.call_from_thread(self._say, f"{draft.choice.name}: {error}", "alarm")
            return
        needs = f"needs about {size(plan_peak(rows))} of memory" if rows else "has no memory plan"
        self.app.call_from_thread(self._say, f"{draft.choice.name} {needs}; f5 starts it")

    def _show(self, entries: list[Entry]) -> None:
        self._entries = entries
        self.query_one(ContentSwitcher).current = "form"
        self.query_one("#entries").focus()
        self.call_after_refresh(self._draw_entries)

    def _draw_entries(self) -> None:
        shown = [entry for entry in self._entries if all(word in entry.key for word in self._words.split())]
        self.query_one("#entries", PickList).show(shown)
        self._explain()

    @on(PickList.Moved, "#entries")
    def _explain(self) -> None:
        entry = self.query_one("#entries", PickList).item
        if isinstance(entry, Entry):
            about = f"{entry.description}\nallowed: {entry.allowed}   from: {entry.origin}"
            self.query_one("#help", Static).update(printable(about, keep_newlines=True))

    @on(PickList.Opened, "#entries")
    def _edit(self, message: PickList.Opened) -> None:
        if isinstance(message.source.item, Entry):
            field = self.query_one("#value", Input)
            field.display, field.value = True, plain(message.source.item.value)
            field.focus()

    @on(Input.Submitted, "#value")
    def _edited(self, message: Input.Submitted) -> None:
        entry, draft = self.query_one("#entries", PickList).item, self._draft
        message.input.display = False
        self.query_one("#entries").focus()
        if draft is not None and isinstance(entry, Entry):
            self.run_worker(lambda: self._change(draft, entry.key, message.value), thread=True)

    def _change(self, draft: Draft, key: str, text: str) -> None:
        """Aside: a value that is refused leaves the draft as it was."""
        changed = Draft(draft.choice, draft.root, {**draft.settings, key: read(text)})
        try:
            changed.request()
        except UserError as error:
            self.app.call_from_thread(self._say, str(error), "alarm")
        else:
            self.app.call_from_thread(self._resolve, changed)

    def action_undo(self) -> None:
        entry, draft = self.query_one("#entries", PickList).item, self._draft
        if draft is not None and isinstance(entry, Entry) and entry.key in draft.settings:
            kept = {key: value for key, value in draft.settings.items() if key != entry.key}
            self._resolve(Draft(draft.choice, draft.root, kept))

    def action_filter(self) -> None:
        field = self.query_one("#words", Input)
        field.display = True
        field.focus()

    @on(Input.Changed, "#words")
    def _words_changed(self, message: Input.Changed) -> None:
        self._words = message.value
        self._draw_entries()

    @on(Input.Submitted, "#words")
    def _words_chosen(self, message: Input.Submitted) -> None:
        message.input.display = False
        self.query_one("#entries").focus()

    def action_start(self) -> None:
        draft = self._draft
        if draft is None:
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self.run_worker(lambda: self._start(draft), thread=True)

        changed = ", ".join(f"{key} = {plain(value)}" for key, value in draft.settings.items())
        self.app.push_screen(Confirm(f"Start {draft.choice.name}?", changed or "as the profile says"), answered)

    def _start(self, draft: Draft) -> None:
        try:
            run = draft.start()
        except UserError as error:
            self.app.call_from_thread(self._say, str(error), "alarm")
            return
        self.app.call_from_thread(self.app.notify, f"started {run.id}", markup=False)
        self.app.call_from_thread(self.app.pop_screen)

    def action_back(self) -> None:
        switcher = self.query_one(ContentSwitcher)
        open_fields = [field for field in self.query(Input) if field.display]
        if open_fields:
            open_fields[0].display = False
            self.query_one("#entries").focus()
        elif switcher.current == "form":
            switcher.current, self._draft = "choices", None
            self._say("What to run")
            self.query_one("#choices").focus()
        else:
            self.app.pop_screen()
