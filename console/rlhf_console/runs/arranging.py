"""Which runs of the list are shown, in what order, and which below which."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rlhf_console.runs.glance import Glance, RunHeading
from rlhf_console.runs.sweep_tree import Listing, Place, with_points

NEWEST, LINEAGE = "newest", "lineage"
ORDERS: dict[str, Callable[[Glance], Any]] = {
    NEWEST: lambda run: -run.record.created,
    LINEAGE: lambda run: -run.record.created,
    "name": lambda run: run.record.id,
    "plugin": lambda run: run.record.plugin,
    "state": lambda run: str(run.state),
    "time left": lambda run: math.inf if run.summary.eta_seconds is None else run.summary.eta_seconds,
    "alerts": lambda run: -(run.alert.time if run.alert else 0.0),
}
FORK = "fork"
"""The role of the run that another one was forked from."""
MODEL_KEYS = (FORK, "model.path")


@dataclass(frozen=True)
class Arrangement:
    """`words`: all of them are somewhere in what is known of a run. "newest" keeps stages below their pipeline, and a
    sweep's cells below their points, "lineage" also runs below the one that their model came from; those in `folded`
    hide what is below them.
    """

    words: str = ""
    order: str = NEWEST
    backwards: bool = False
    folded: frozenset[str] = frozenset()

    def with_next_order(self) -> Arrangement:
        names = list(ORDERS)
        return replace(self, order=names[(names.index(self.order) + 1) % len(names)])

    def arranged(self, runs: Sequence[Glance]) -> Listing:
        kept = [run for run in runs if self.shows(run)] if self.words else list(runs)
        kept.sort(key=ORDERS[self.order], reverse=self.backwards)
        if self.order in (NEWEST, LINEAGE):
            return _tree(kept, self._parent, frozenset() if self.words else self.folded)
        return Listing([*kept])

    def _parent(self, record: RunHeading) -> str:
        return record.pipeline or (origin(record) if self.order == LINEAGE else "")

    def shows(self, run: Glance) -> bool:
        known = run.known
        return all(_found(word, known) for word in self.words.lower().split())

    @property
    def depends_on_runs(self) -> bool:
        """Whether what the runs do can change it, and not their coming and going alone."""
        return bool(self.words) or self.order in ("state", "time left", "alerts")

    def with_fold(self, run_id: str, *, folded: bool) -> Arrangement:
        return replace(self, folded=self.folded | {run_id} if folded else self.folded - {run_id})


def origin(record: RunHeading) -> str:
    """The run that this one's model, or everything, came from; empty if it began by itself."""
    parents = record.parents
    return next((parents[key] for key in MODEL_KEYS if key in parents), next(iter(parents.values()), ""))


def came_from(runs: Sequence[Glance], run_id: str) -> list[str]:
    """The runs, stages of `run_id` left out, that use a checkpoint of it or of its stages."""

    def is_of(other: str) -> bool:
        return other == run_id or other.startswith(f"{run_id}.")

    users = [run.record for run in runs if not is_of(run.record.id)]
    return [record.id for record in users if any(map(is_of, record.parents.values()))]


def _tree(runs: Sequence[Glance], parent_of: Callable[[RunHeading], str], folded: frozenset[str]) -> Listing:
    """Runs in order, each followed by those below it, oldest first."""
    known = {run.record.id for run in runs}
    below: dict[str, list[Glance]] = {}
    top = []
    for run in runs:
        parent = parent_of(run.record)
        if parent and parent in known:
            below.setdefault(parent, []).append(run)
        else:
            top.append(run)
    if not below:
        return Listing([*top])
    tree, places = list[Glance](), dict[str, Place]()
    for run in [*top, *_in_circles(runs, below, top)]:
        _grow(tree, places, run, below, folded)
    return with_points(tree, places, folded)


def _grow(
    tree: list[Glance], places: dict[str, Place], root: Glance, below: dict[str, list[Glance]], folded: frozenset[str]
) -> None:
    """Adds a run with all below it; nothing twice."""
    waiting = [(root, 0)]
    while waiting:
        run, depth = waiting.pop()
        run_id = run.record.id
        if run_id in places:
            continue
        children = sorted(below.get(run_id, ()), key=lambda child: -child.record.created)
        tree.append(run)
        if children or depth:
            places[run_id] = Place(depth, len(children), run_id in folded)
        if run_id not in folded:
            waiting += [(child, depth + 1) for child in children]


def _in_circles(runs: Sequence[Glance], below: dict[str, list[Glance]], top: Sequence[Glance]) -> list[Glance]:
    """Runs that say they came from each other, which no honest record does; they are shown all the same."""
    reached, waiting = set[str](), list(top)
    while waiting:
        run = waiting.pop()
        reached.add(run.record.id)
        waiting += below.get(run.record.id, ())
    return [run for run in runs if run.record.id not in reached]


def _found(word: str, known: str) -> bool:
    """A word with ! in front must not be there."""
    return (word[1:] not in known) if word.startswith("!") and len(word) > 1 else word in known
