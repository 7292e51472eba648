"""The app: the run list, and a screen for each run that is opened."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from textual import on
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from rlhf_console.printable import printable
from rlhf_console.runs.glance import Glance
from rlhf_console.runs.marks import Marks
from rlhf_console.runs.sent_commands import SentCommands
from rlhf_console.runs.store import LiveRun
from rlhf_console.settings import Settings
from rlhf_console.tui.declarations import Declarations
from rlhf_console.tui.keymap import keymap_of, shown_key
from rlhf_console.tui.places import places
from rlhf_console.tui.screens.jump import JumpScreen
from rlhf_console.tui.screens.keys import KeysScreen, key_table
from rlhf_console.tui.screens.run import Attention, RunScreen
from rlhf_console.tui.screens.runs import RunsScreen
from rlhf_console.tui.themes import DARK, THEMES
from rlhf_console.tui.widgets.pick_list import PickList
from rlhf_console.tui.widgets.targets import targets_of
from rlhf_sdk.trainer import UserError

DEFAULTS = Settings()


class ConsoleApp(App[None]):
    """Watches the runs of one root, and passes on what a person wants of them; closing it changes nothing of any run.

    With `readonly` nothing can be asked of a run. Raises `UserError` for keys that can't be as `settings` wants them.
    """

    TITLE = "rlhf-console"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "keys", "Keys", key_display="?", id="keys"),
        Binding("g", "jump", "Jump", show=False, id="jump"),
    ]
    SIGNALS: ClassVar[tuple[signal.Signals, ...]] = (signal.SIGHUP, signal.SIGTERM)

    def __init__(
        self, root: Path, opened: LiveRun | None = None, settings: Settings = DEFAULTS, *, readonly: bool = False
    ) -> None:
        super().__init__()
        self._dress(settings.theme)
        self.set_keymap(keymap_of(settings, places(ConsoleApp)))
        self._settings = settings
        self._root, self._opened, self._readonly = root, opened, readonly
        self._declarations, self._sent, self._marks = Declarations(), SentCommands(), Marks()

    def on_mount(self) -> None:
        loop = asyncio.get_running_loop()
        for number in self.SIGNALS:
            loop.add_signal_handler(number, self.exit, None, 128 + number)
        self.push_screen(RunsScreen(self._root, self._declarations, self._sent, self._marks, readonly=self._readonly))
        if self._opened is not None:
            self._open(self._opened)

    def _dress(self, theme: str) -> None:
        """The console's own themes alone: only they have colours for the lines of charts."""
        for name in self.available_themes:
            self.unregister_theme(name)
        for each in THEMES:
            self.register_theme(each)
        self.theme = theme

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Before the theme is chosen."""
        return DARK.variables

    @on(Attention)
    def call_attention(self, message: Attention) -> None:
        """The terminal's bell, and OSC 9, which many terminals show as a notification of the desktop."""
        if not self._settings.bell:
            return
        self.bell()
        if self._driver is not None:
            self._driver.write(f"\x1b]9;{printable(message.text)}\x1b\\")

    def action_keys(self) -> None:
        if not isinstance(self.screen, KeysScreen):
            self.push_screen(KeysScreen(key_table(self.screen)))

    def action_jump(self) -> None:
        self.push_screen(JumpScreen(targets_of(self.screen)), lambda chosen: chosen and chosen.go())

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Every action that a key has here, by its name; and Textual's own (themes, a picture of the screen)."""
        yield from super().get_system_commands(screen)
        for active in screen.active_bindings.values():
            if active.enabled and active.binding.description and active.node is not self:
                run = partial(self.run_action, active.binding.action, active.node)
                yield SystemCommand(active.binding.description, f"key {shown_key(active.binding.key)}", run)

    def _open(self, run: LiveRun) -> None:
        self.push_screen(RunScreen(run, self._declarations, self._sent, self._marks, readonly=self._readonly))

    @on(PickList.Opened, "#runs")
    def _run_opened(self, message: PickList.Opened) -> None:
        if isinstance(message.source.item, Glance):
            try:
                self._open(LiveRun.open(message.source.item.directory))
            except UserError as error:
                self.notify(printable(str(error)), severity="error", markup=False)
