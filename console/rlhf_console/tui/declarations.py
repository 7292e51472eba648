"""What plugins declare, asked for aside, so that a slow plugin holds nobody up."""

from __future__ import annotations

import time
from threading import Thread

from rlhf_console.headlines import Declared, declared

PATIENCE_SECONDS = 1.0
SILENT = Declared(problem="the plugin has not answered yet")


class Declarations:
    """Answers at once with what is known by then."""

    def __init__(self) -> None:
        self._known: dict[str, Declared] = {}
        self._asked: dict[str, float] = {}

    def get(self, plugin: str) -> Declared | None:
        """What `plugin` declares; None while it is asked, nothing if that takes long."""
        if plugin not in self._asked:
            self._asked[plugin] = time.monotonic()
            Thread(target=self._ask, args=(plugin,), daemon=True).start()
        waited = time.monotonic() - self._asked[plugin]
        return self._known.get(plugin) or (SILENT if waited > PATIENCE_SECONDS else None)

    def _ask(self, plugin: str) -> None:
        self._known[plugin] = declared(plugin)
