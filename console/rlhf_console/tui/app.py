"""The app: the run list, and a screen for each run that is opened."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from textual import on
from textual.app import App, SuspendNotSupported, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from rlhf_console import plugins
from rlhf_console.printable import printable
from rlhf_console.runs.glance import Glance
from rlhf_console.runs.marks import Marks
from rlhf_console.runs.sent_commands import SentCommands
from rlhf_console.runs.store import LiveRun
from rlhf_console.runs.sweep_tree import ListedPoint
from rlhf_console.settings import Settings
from rlhf_console.tui.declarations import Declarations
from rlhf_console.tui.keymap import keymap_of, shown_key
from rlhf_console.tui.link import LinkedApp
from rlhf_console.tui.outside import HasText, for_clipboard, page, save_picture
from rlhf_console.tui.palette import RunsProvider
from rlhf_console.tui.places import places
from rlhf_console.tui.screens.controlled import ControlledScreen
from rlhf_console.tui.screens.jump import JumpScreen
from rlhf_console.tui.screens.keys import KeysScreen, key_table
from rlhf_console.tui.screens.run import Attention, RunScreen
from rlhf_console.tui.screens.runs import RunsScreen
from rlhf_console.tui.themes import ANSI, DARK, THEMES
from rlhf_console.tui.widgets.pick_list import PickList
from rlhf_console.tui.widgets.targets import targets_of
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.trainer import UserError

DEFAULTS = Settings()
NO_COLOUR = "NO_COLOR"
"""With the terminal's own colours Textual sends none at all where this is set; from others it makes greys."""


class ConsoleApp(LinkedApp[None]):
    """Watches the runs of one root, and passes on what a person wants of them; closing it changes nothing of any run.

    With `readonly` nothing can be asked of a run. Raises `UserError` for keys that can't be as `settings` wants them.
    """

    TITLE = "rlhf-console"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "keys", "Keys", key_display="?", id="keys"),
        Binding("ctrl+o", "jump", "Jump", show=False, id="jump"),
        Binding("y", "copy", "Copy", show=False, id="copy"),
        Binding("Y", "copy_command", "Copy the command that opens it", show=False, id="copy-command"),
        Binding("V", "page", "Open in $PAGER", show=False, id="page"),
        Binding("ctrl+g", "picture", "Picture of the screen", show=False, id="picture"),
    ]
    COMMANDS = App.COMMANDS | {RunsProvider}
    SIGNALS: ClassVar[tuple[signal.Signals, ...]] = (signal.SIGHUP, signal.SIGTERM)

    def __init__(
        self, root: Path, opened: LiveRun | None = None, settings: Settings = DEFAULTS, *, readonly: bool = False
    ) -> None:
        super().__init__(ansi_color=True if NO_COLOUR in os.environ else None)
        self._dress(ANSI.name if self.no_color else settings.theme)
        self.set_keymap(keymap_of(settings, places(ConsoleApp)))
        self._settings = settings
        self._root, self._opened, self._readonly = root, opened, readonly
        self._declarations, self._sent, self._marks = Declarations(), SentCommands(), Marks()
        self._runs_screen = RunsScreen(root, self._declarations, self._sent, self._marks, readonly=readonly)

    def on_mount(self) -> None:
        loop = asyncio.get_running_loop()
        for number in self.SIGNALS:
            loop.add_signal_handler(number, self.exit, None, 128 + number)
        self.end_with_the_terminal()
        self.show_first()

    def show_first(self) -> None:
        """The list, and the run that was asked for on top of it."""
        self.push_screen(self._runs_screen)
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

    def on_unmount(self) -> None:
        plugins.stop_asking()

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

    @property
    def runs(self) -> Sequence[Glance]:
        """Those of the list."""
        return self._runs_screen.runs

    def action_copy(self) -> None:
        """By OSC 52, which also reaches the clipboard of the machine that one sits at."""
        text: object = self.focused
        self._copy(text.copied_text() if isinstance(text, HasText) else "")

    def action_copy_command(self) -> None:
        self._copy(self.screen.command() if isinstance(self.screen, ControlledScreen) else "")

    def _copy(self, text: str) -> None:
        copied = for_clipboard(text)
        if copied:
            self.copy_to_clipboard(copied)
            first, *more = copied.split("\n")
            self.notify(f"copied {first}" + (f" and {len(more)} more lines" if more else ""), timeout=3, markup=False)
        else:
            self.notify("nothing to copy here", severity="warning", markup=False)

    def action_page(self) -> None:
        text: object = self.focused
        if not isinstance(text, HasText):
            self.notify("nothing to read here", severity="warning", markup=False)
            return
        try:
            with self.suspend():
                page(text.lines_of_text())
        except (UserError, OSError, SuspendNotSupported) as error:
            self._refuse(error)

    def action_picture(self) -> None:
        """Of the screen as it is, into the folder that the console was started in."""
        try:
            file = save_picture(self.export_screenshot(title=self.TITLE), Path.cwd())
        except UserError as error:
            self._refuse(error)
        else:
            self.notify(f"saved {printable(str(file))}", markup=False)

    def _refuse(self, error: Exception) -> None:
        self.notify(printable(str(error)), severity="error", markup=False)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Every action that a key has here, by its name, and the themes."""
        yield SystemCommand("Theme", "other colours until the console is closed", self.action_change_theme)
        for active in screen.active_bindings.values():
            if active.enabled and active.binding.description and not active.binding.system:
                run = partial(self.run_action, active.binding.action, active.node)
                yield SystemCommand(active.binding.description, f"key {shown_key(active.binding.key)}", run)

    def _open(self, run: LiveRun, point: str = "") -> None:
        screen = RunScreen(run, self._declarations, self._sent, self._marks, readonly=self._readonly, point=point)
        self.push_screen(screen)

    @on(PickList.Opened, "#runs")
    def _run_opened(self, message: PickList.Opened) -> None:
        item = message.source.item
        if isinstance(item, ListedPoint):
            self.open_run(item.sweep.directory, item.point.name)
        elif isinstance(item, Glance):
            self.open_run(item.directory)

    def open_run(self, directory: RunDir, point: str = "") -> None:
        try:
            self._open(LiveRun.open(directory), point)
        except UserError as error:
            self._refuse(error)
