"""Which two or three sides are compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from rlhf_console.runs.pairs import MOST_SIDES, Side, labels_of
from rlhf_console.tui.drawing.cells import Row, fit, spread, text_cells
from rlhf_console.tui.screens.keys import hint
from rlhf_console.tui.widgets.pick_list import PickList


class SidesScreen(ModalScreen[tuple[Side, ...]]):
    """A list of runs with their policies and steps. None: as before."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "mark", "Mark", id="mark"),
        Binding("escape", "leave", "Back", id="back"),
    ]
    CSS = """
    SidesScreen { align: center middle; }
    SidesScreen #sides-box { width: 100; max-width: 96%; height: 24; max-height: 90%; padding: 0 1; }
    SidesScreen #sides-box { border: round $primary; }
    SidesScreen Static { height: auto; }
    SidesScreen PickList { height: 1fr; }
    """

    def __init__(self, sides: Sequence[Side], chosen: Sequence[Side]) -> None:
        super().__init__()
        self._sides, self._chosen = sides, [side for side in chosen if side in sides]
        self._labels = dict(zip(sides, labels_of(sides), strict=True))
        self._prompts = {side: frozenset(side.rows()) for side in sides}

    def compose(self) -> ComposeResult:
        with Vertical(id="sides-box"):
            yield Static(id="sides-help", markup=False)
            yield PickList(self._row, lambda side: side, opens=True, id="all-sides")

    def on_mount(self) -> None:
        self._draw()
        self.query_one(PickList).focus()
        self.call_after_refresh(self._say_how)

    def _say_how(self) -> None:
        marks = hint(self, "mark", "marks two or three, the first stands on the left")
        self.query_one("#sides-help", Static).update(f"{marks}; {hint(self, 'open', 'compares them')}")

    def _draw(self) -> None:
        self.query_one(PickList).show(self._sides)

    def _row(self, side: Side, width: int) -> Row:
        place = f"{self._chosen.index(side) + 1} " if side in self._chosen else "  "
        shared = self._prompts[side]
        for other in self._chosen:
            shared = shared & self._prompts[other]
        count = f"{len(shared)} of {len(self._prompts[side])} prompts shared"
        label = text_cells(place, "accent") + text_cells(self._labels[side])
        return fit(spread(label, text_cells(count, "" if shared else "dim"), width), width)

    def action_mark(self) -> None:
        side = self.query_one(PickList).item
        if side in self._chosen:
            self._chosen.remove(side)
        elif side is not None and len(self._chosen) < MOST_SIDES:
            self._chosen.append(side)
        self._draw()

    @on(PickList.Opened)
    def _accept(self, message: PickList.Opened) -> None:
        message.stop()
        if len(self._chosen) > 1:
            self.dismiss(tuple(self._chosen))
        else:
            self.notify("mark at least two", severity="warning", markup=False)

    def action_leave(self) -> None:
        self.dismiss(None)
