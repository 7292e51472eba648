"""What runs were planned to need, asked for aside: a plugin may take seconds to say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Thread
from typing import Any

from rlhf_console.planned import rows_of
from rlhf_console.runs.store import LiveRun
from rlhf_sdk.trainer import UserError

PlanRows = Sequence[Mapping[str, Any]]


class Plans:
    """Answers at once with what is known by then."""

    def __init__(self) -> None:
        self._known: dict[str, PlanRows] = {}
        self._asked: set[str] = set()

    def get(self, run: LiveRun) -> PlanRows | None:
        """The rows of the run's plan, none where it has no plan; None until its plugin has answered."""
        if run.record.id not in self._asked:
            self._asked.add(run.record.id)
            Thread(target=self._ask, args=(run,), daemon=True).start()
        return self._known.get(run.record.id)

    def _ask(self, run: LiveRun) -> None:
        """Nothing where the models that it would need are gone."""
        try:
            self._known[run.record.id] = rows_of(run)
        except UserError:
            self._known[run.record.id] = []
