"""What plugins declare, asked for aside, so that a slow plugin holds nobody up."""

from __future__ import annotations

from threading import Thread

from rlhf_console.headlines import Declared, declared


class Declarations:
    """Answers at once with what is known by then."""

    def __init__(self) -> None:
        self._known: dict[str, Declared] = {}
        self._asked: set[str] = set()

    def get(self, plugin: str) -> Declared | None:
        """What `plugin` declares; None until it has answered."""
        if plugin not in self._asked:
            self._asked.add(plugin)
            Thread(target=self._ask, args=(plugin,), daemon=True).start()
        return self._known.get(plugin)

    def _ask(self, plugin: str) -> None:
        self._known[plugin] = declared(plugin)
