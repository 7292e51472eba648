"""The application: which screen is shown, and a clean end when the terminal goes."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import ClassVar

from textual.app import App

from rlhf_console.printable import printable
from rlhf_console.runs.store import LiveRun
from rlhf_console.tui.run_screen import RunScreen
from rlhf_console.tui.runs_screen import RunsScreen, RunTable
from rlhf_sdk.trainer import UserError


class ConsoleApp(App[None]):
    """Runs, and one run. Closing it stops nothing."""

    TITLE = "rlhf-console"
    ENABLE_COMMAND_PALETTE = False
    SIGNALS: ClassVar[tuple[signal.Signals, ...]] = (signal.SIGHUP, signal.SIGTERM)

    def __init__(self, root: Path, opened: LiveRun | None = None) -> None:
        super().__init__()
        self._root, self._opened = root, opened

    def on_mount(self) -> None:
        loop = asyncio.get_running_loop()
        for number in self.SIGNALS:
            loop.add_signal_handler(number, self.exit, None, 128 + number)
        self.push_screen(RunsScreen(self._root))
        if self._opened is not None:
            self.push_screen(RunScreen(self._opened))

    def on_run_table_opened(self, message: RunTable.Opened) -> None:
        try:
            self.push_screen(RunScreen(LiveRun.open(message.row.live.directory)))
        except UserError as error:
            self.notify(printable(str(error)), severity="error", markup=False)
