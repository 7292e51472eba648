"""Which runs of the list are shown, and in what order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from rlhf_console.runs.index import Glance

ORDERS: dict[str, Callable[[Glance], object]] = {
    "newest": lambda run: -run.record.created,
    "name": lambda run: run.record.id,
    "plugin": lambda run: run.record.plugin,
    "state": lambda run: str(run.state),
}


@dataclass(frozen=True)
class Arrangement:
    """`words`: all of them are somewhere in what is known of a run; "newest" keeps stages below their pipeline."""

    words: str = ""
    order: str = "newest"

    def with_next_order(self) -> Arrangement:
        names = list(ORDERS)
        return replace(self, order=names[(names.index(self.order) + 1) % len(names)])

    def arranged(self, runs: Sequence[Glance]) -> list[Glance]:
        kept = [run for run in runs if self.shows(run)]
        return kept if self.order == "newest" else sorted(kept, key=lambda run: str(ORDERS[self.order](run)))

    def shows(self, run: Glance) -> bool:
        known = _known(run)
        return all(_found(word, known) for word in self.words.lower().split())


def _found(word: str, known: str) -> bool:
    """A word with ! in front must not be there."""
    return (word[1:] not in known) if word.startswith("!") and len(word) > 1 else word in known


def _known(run: Glance) -> str:
    """What a filter looks in: id, plugin, profile, state, stage, parents."""
    record = run.record
    parts = [record.id, record.name, record.plugin, record.profile, str(run.state), record.stage or ""]
    return " ".join([*parts, *record.parents.values()]).lower()
