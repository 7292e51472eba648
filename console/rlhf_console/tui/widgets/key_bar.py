"""The keys of where you are, in the bottom row.

Textual's `Footer` is made of widgets that are made anew whenever the focus moves, and then the whole screen is laid out
and sent again; here only the cells that changed are.
"""

from __future__ import annotations

from collections.abc import Iterator

from textual import on
from textual.binding import Binding
from textual.screen import Screen

from rlhf_console.tui.drawing.cells import Row, text_cells
from rlhf_console.tui.widgets.bar import Bar
from rlhf_console.tui.widgets.targets import Target


class KeyBar(Bar):
    """One part for each action that has a key to be shown; a click does what the key does."""

    DEFAULT_CSS = "KeyBar { dock: bottom; background: $footer-background; }"

    def __init__(self) -> None:
        super().__init__()
        self._shown: list[Binding] = []

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._follow)

    def on_resize(self) -> None:
        self._follow(self.screen)

    def _follow(self, screen: Screen[object]) -> None:
        if not self.is_attached or screen is not self.screen:
            return
        active = screen.active_bindings
        palette = active.get(self.app.COMMAND_PALETTE_BINDING)
        actions = {each.binding.action: each.binding for each in reversed(active.values()) if each.binding.show}
        self._shown = [
            binding for binding in reversed(actions.values()) if palette is None or binding != palette.binding
        ]
        end = self._part(palette.binding) if palette is not None else []
        self.show_parts([self._part(binding) for binding in self._shown], end, self.size.width)

    def _part(self, binding: Binding) -> Row:
        key = text_cells(self.app.get_key_display(binding), "accent")
        return [(" ", ""), *key, (" ", ""), *text_cells(binding.description)]

    @on(Bar.Chosen)
    def _pressed(self, message: Bar.Chosen) -> None:
        message.stop()
        self.app.simulate_key(self._shown[message.place].key)

    def targets(self) -> Iterator[Target]:
        """None to jump to: its keys can be pressed."""
        return iter(())
