"""The labeller, full screen, in a process of its own: `python -m rlhf_console.tui.labelling FILE`, for `rlhf label`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rlhf_console.runs.labelling import Labelling, open_session
from rlhf_console.settings import Settings, load_settings
from rlhf_console.tui.app import DEFAULTS, ConsoleApp
from rlhf_console.tui.screens.label import LabelScreen
from rlhf_console.tui.terminal_guard import guarded_terminal
from rlhf_sdk.files import PRIVATE_UMASK


class LabelApp(ConsoleApp):
    """The console with nothing but the labeller."""

    TITLE = "rlhf label"
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, session: Labelling, settings: Settings = DEFAULTS) -> None:
        super().__init__(session.store.file.parent, settings=settings)
        self._session = session

    def show_first(self) -> None:
        self.push_screen(LabelScreen(self._session))


def main() -> None:
    os.umask(PRIVATE_UMASK)
    app = LabelApp(open_session(Path(sys.argv[1]).read_bytes()), load_settings())
    with guarded_terminal():
        app.run()
    sys.exit(app.return_code or 0)


if __name__ == "__main__":
    main()
