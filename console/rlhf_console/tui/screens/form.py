"""A run in the making: a form of all its options, the memory it would need, what a check of it finds, and off."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import Screen
from textual.widgets import ContentSwitcher, Input, Static

from rlhf_console.gpus import target_of
from rlhf_console.plan_text import plan_text, verdict
from rlhf_console.printable import printable
from rlhf_console.runs.launching import Draft, Entry
from rlhf_console.tui.drawing.cells import fit, join, text_cells
from rlhf_console.tui.drawing.form import check_row_rows, entry_row, plain, read, shown_entries
from rlhf_console.tui.screens.choose import ChooseScreen
from rlhf_console.tui.screens.confirm import Confirm
from rlhf_console.tui.screens.keys import hint
from rlhf_console.tui.widgets.cells import Cells
from rlhf_console.tui.widgets.key_bar import KeyBar
from rlhf_console.tui.widgets.pick_list import PickList
from rlhf_console.tui.widgets.row_view import Page
from rlhf_sdk.spec import CheckRow
from rlhf_sdk.trainer import RunFailure, UserError

FORM, PLAN, CHECK = "form", "plan", "check"


class FormScreen(Screen[str]):
    """Ends with the id of the run that was started, or an empty one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f5,ctrl+s", "start", "Start", id="start"),
        Binding("f6,m", f"open({PLAN!r})", "Memory plan", id="memory-plan"),
        Binding("f7,c", "check", "Check", id="check"),
        Binding("u", "undo", "Put back", id="put-back"),
        Binding("slash", "filter", "Filter", id="filter"),
        Binding("escape", "back", "Back", id="back"),
    ]
    CSS = """
    #title, #memory { height: 1; }
    ContentSwitcher, #entries { height: 1fr; }
    #words, #value { height: 1; border: none; padding: 0; display: none; }
    #help { height: 3; color: $text-muted; }
    """

    def __init__(self, draft: Draft) -> None:
        super().__init__()
        self._draft = draft
        self._entries: list[Entry] = []
        self._words = ""
        self._checked: list[CheckRow] | None = None

    def compose(self) -> ComposeResult:
        yield Cells(id="title")
        yield Cells(id="memory")
        with ContentSwitcher(initial=FORM):
            with Vertical(id=FORM):
                yield PickList(entry_row, lambda entry: entry.key, opens=True, id="entries")
                yield Static("", id="help", markup=False)
            yield Page(id=PLAN)
            yield Page(id=CHECK)
        yield Input(id="value")
        yield Input(placeholder="words in the key; * what was changed", id="words")
        yield KeyBar()

    def on_mount(self) -> None:
        self.query_one("#entries").focus()
        self.call_after_refresh(self._resolve, self._draft)

    def _resolve(self, draft: Draft) -> None:
        self._draft, self._checked = draft, None
        self._say("resolving ...")
        self._aside(lambda: self._ask(draft))

    def _aside(self, work: Callable[[], None]) -> None:
        """In a thread that nobody waits for at the end: plugins are asked in processes of their own, which may hang."""
        Thread(target=work, daemon=True).start()

    def _tell(self, do: Callable[..., None], *arguments: Any) -> None:
        """From a thread; nothing, if the screen was left meanwhile."""
        if self.is_attached:
            self.app.call_from_thread(do, *arguments)

    def _ask(self, draft: Draft) -> None:
        """Aside: the form's keys first, then the memory that the run would need."""
        try:
            self._tell(self._show, draft.entries())
            self._tell(self._say)
        except UserError as error:
            self._tell(self._say, str(error), "alarm")
            return
        try:
            target = target_of("")
            plan = draft.plan(target)
            said, text = verdict(plan["rows"], target.device.memory), plan_text(draft.name, plan, target)
        except UserError as error:
            said = text = str(error)
        self._tell(self._show_plan, said, text)

    def _say(self, text: str = "", style: str = "accent") -> None:
        """The name, and what is to be said; else how much was changed."""
        changed = len(self._draft.settings)
        said = text_cells(text or (f"{changed} changed" if changed else "as it stands"), style)
        how = text_cells("" if text else hint(self, "start", "starts it"), "dim")
        self.query_one("#title", Cells).show(
            [fit(join([text_cells(self._draft.name, "title"), said, how]), self.size.width)]
        )

    def _show(self, entries: list[Entry]) -> None:
        self._entries = entries
        self._draw_entries()

    def _show_plan(self, said: str, text: str) -> None:
        style = "alarm" if "NOT FIT" in said else ""
        self.query_one("#memory", Cells).show([fit(text_cells(said, style), self.size.width)])
        self.query_one(f"#{PLAN}", Page).show([text_cells(line) for line in text.split("\n")])

    def _draw_entries(self) -> None:
        self.query_one("#entries", PickList).show(shown_entries(self._entries, self._words))
        self._explain()

    @property
    def _entry(self) -> Entry | None:
        entry = self.query_one("#entries", PickList).item
        return entry if isinstance(entry, Entry) else None

    @on(PickList.Moved, "#entries")
    def _explain(self) -> None:
        entry = self._entry
        if entry is not None:
            was = f"   was: {plain(entry.before)}" if entry.changed else ""
            about = f"{entry.description}\nallowed: {entry.allowed}   from: {entry.origin}{was}"
            self.query_one("#help", Static).update(printable(about, keep_newlines=True))

    @on(PickList.Opened, "#entries")
    def _edit(self) -> None:
        """From a list where there are a few values, else typed."""
        entry = self._entry
        if entry is None:
            return
        if entry.choices:
            at = entry.choices.index(entry.value) if entry.value in entry.choices else 0
            rows = [(plain(value), value) for value in entry.choices]
            choose = ChooseScreen(entry.key, rows, lambda row: row[0], at=at)
            self.app.push_screen(choose, lambda row: self._change(entry, row[1]) if row else None)
            return
        field = self.query_one("#value", Input)
        field.display, field.value = True, plain(entry.value)
        field.focus()

    @on(Input.Submitted, "#value")
    def _edited(self, message: Input.Submitted) -> None:
        entry = self._entry
        self._leave_fields()
        if entry is not None:
            self._change(entry, read(message.value))

    def _change(self, entry: Entry, value: object) -> None:
        changed = self._draft.with_value(entry, value)
        self._aside(lambda: self._try(changed))

    def _try(self, changed: Draft) -> None:
        """Aside: a value that is refused leaves the draft as it was."""
        try:
            _ = changed.request
        except UserError as error:
            self._tell(self._say, str(error), "alarm")
        else:
            self._tell(self._resolve, changed)

    def action_undo(self) -> None:
        entry = self._entry
        if entry is not None and entry.changed:
            self._resolve(self._draft.without(entry.key))

    def action_open(self, page: str) -> None:
        """A page, or from it back to the form."""
        switcher = self.query_one(ContentSwitcher)
        switcher.current = FORM if switcher.current == page else page
        self.query_one("#entries" if switcher.current == FORM else f"#{page}").focus()

    def action_check(self) -> None:
        """What is known already is shown again."""
        self.action_open(CHECK)
        if self._checked is None and self.query_one(ContentSwitcher).current == CHECK:
            self._checked = []
            self._draw_checks("checking: data, weights, one small update; a minute or so ...")
            draft = self._draft
            self._aside(lambda: self._try_out(draft))

    def _try_out(self, draft: Draft) -> None:
        """Aside; given up when the draft is another, or the screen was left."""
        found: list[CheckRow] = []
        try:
            for row in draft.check():
                found.append(row)
                if draft is not self._draft or not self.is_attached:
                    return
                self._tell(self._show_checks, found[:], "checking ...")
            self._tell(self._show_checks, found, f"{sum(row.state == 'fail' for row in found)} failed")
        except (UserError, RunFailure) as error:
            self._tell(self._show_checks, found, str(error))

    def _show_checks(self, found: list[CheckRow], said: str) -> None:
        self._checked = found
        self._draw_checks(said)

    def _draw_checks(self, said: str) -> None:
        page = self.query_one(f"#{CHECK}", Page)
        found = self._checked or []
        rows = [row for checked in found for row in check_row_rows(checked, self.size.width - 1)]
        page.show([*rows, text_cells(said, "accent")])

    def action_filter(self) -> None:
        field = self.query_one("#words", Input)
        field.display = True
        field.focus()

    @on(Input.Changed, "#words")
    def _words_changed(self, message: Input.Changed) -> None:
        self._words = message.value
        self._draw_entries()

    @on(Input.Submitted, "#words")
    def _leave_fields(self) -> None:
        for field in self.query(Input):
            field.display = False
        self.query_one("#entries").focus()

    def action_start(self) -> None:
        draft = self._draft

        def answered(yes: bool | None) -> None:
            if yes:
                self._say("starting ...")
                self._aside(lambda: self._start(draft))

        changed = ", ".join(f"{key} = {plain(value)}" for key, value in draft.settings.items())
        self.app.push_screen(Confirm(f"Start {draft.name}?", changed or "as it stands"), answered)

    def _start(self, draft: Draft) -> None:
        try:
            run = draft.start()
        except UserError as error:
            self._tell(self._say, str(error), "alarm")
            return
        self._tell(self._started, run.id)

    def _started(self, run_id: str) -> None:
        self.app.notify(f"started {run_id}", markup=False)
        self.dismiss(run_id)

    def action_back(self) -> None:
        """Out of a field, else out of a page, else away."""
        current = self.query_one(ContentSwitcher).current
        if any(field.display for field in self.query(Input)):
            self._leave_fields()
        elif current is not None and current != FORM:
            self.action_open(current)
        else:
            self.dismiss("")
