"""The points of a sweep's grid as a level of the tree of runs: sweep, point, cell of each seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from rlhf_console.runs.glance import Glance
from rlhf_console.runs.sweeps import Point
from rlhf_sdk.states import State

TELLING = (
    *(State.RUNNING, State.STARTING, State.PAUSED, State.STALLED),
    *(State.FAILED, State.OOM, State.KILLED, State.LOST),
    *(State.STOPPED, State.RELEASED, State.REQUEUED, State.QUEUED),
)
"""Which state of a cell is its point's: the first of these."""


@dataclass(frozen=True)
class ListedPoint:
    """A point of a sweep with those of its cells that are listed, and the runs below these."""

    point: Point
    sweep: Glance = field(compare=False)
    cells: tuple[Glance, ...] = field(compare=False)
    below: tuple[Glance, ...] = field(default=(), compare=False)

    @property
    def id(self) -> str:
        return self.point.id

    @property
    def told(self) -> tuple[Glance, ...]:
        """The runs whose figures tell most: the cells, of pipelines each one's newest stage of the kind begun last."""
        stages = [run for run in self.below if run.record.stage in self.point.stages]
        if not stages:
            return self.cells
        last = max(stages, key=lambda run: run.record.created).record.stage
        return tuple(run for run in stages if run.record.stage == last)

    @property
    def finished(self) -> int:
        return sum(cell.state is State.FINISHED for cell in self.cells)

    @property
    def state(self) -> State | None:
        """At work while any cell is; else the worst end that one had; finished when all that are to be are.

        None until every cell has been looked at.
        """
        states = {cell.state for cell in self.cells}
        told = next((state for state in TELLING if state in states), None)
        if told is not None or None in states:
            return told
        return State.FINISHED if self.finished == len(self.point.cells) else State.CREATED


Listed = Glance | ListedPoint


def listed_id(item: Listed) -> str:
    return item.id if isinstance(item, ListedPoint) else item.record.id


@dataclass(frozen=True)
class Place:
    """Where an item stands in a tree: below so many others, with so many below it; `folded` hides those."""

    depth: int = 0
    below: int = 0
    folded: bool = False


TOP = Place()


@dataclass(frozen=True)
class Listing:
    """Items in their order; by id the places of those that are below another, or have others below them."""

    runs: list[Listed] = field(default_factory=list)
    places: dict[str, Place] = field(default_factory=dict)

    def place(self, item: Listed) -> Place:
        return self.places.get(listed_id(item), TOP)


def with_points(runs: Sequence[Glance], places: Mapping[str, Place], folded: frozenset[str]) -> Listing:
    """A tree of runs, with the points of each sweep between it and its cells; those in `folded` hide these."""
    listing = Listing(places=dict(places))
    at = 0
    while at < len(runs):
        run, place = runs[at], places.get(runs[at].record.id, TOP)
        listing.runs.append(run)
        at += 1
        if not run.points or place.folded:
            continue
        end = next((i for i in range(at, len(runs)) if _depth(runs[i], places) <= place.depth), len(runs))
        _add_points(listing, run, runs[at:end], folded)
        at = end
    return listing


def _depth(run: Glance, places: Mapping[str, Place]) -> int:
    return places.get(run.record.id, TOP).depth


def _add_points(listing: Listing, sweep: Glance, below: Sequence[Glance], folded: frozenset[str]) -> None:
    """Cells stand one deeper than they did; what belongs to no point stays as it is, behind them."""
    depth = listing.place(sweep).depth + 1
    cells = {branch[0].record.stage: branch for branch in _branches(below, depth, listing.places)}
    for point in sweep.points:
        mine = [cells.pop(name) for name in point.cells if name in cells]
        if not mine:
            continue
        listed = ListedPoint(point, sweep, tuple(branch[0] for branch in mine), tuple(r for b in mine for r in b[1:]))
        listing.runs.append(listed)
        listing.places[listed.id] = Place(depth, len(mine), listed.id in folded)
        for run in chain.from_iterable(mine) if listed.id not in folded else ():
            place = listing.places[run.record.id]
            listing.places[run.record.id] = replace(place, depth=place.depth + 1)
            listing.runs.append(run)
    listing.runs.extend(chain.from_iterable(cells.values()))


def _branches(runs: Sequence[Glance], depth: int, places: Mapping[str, Place]) -> list[list[Glance]]:
    """Runs in the order of a tree, cut before each that stands at `depth`."""
    found: list[list[Glance]] = []
    for run in runs:
        if _depth(run, places) == depth:
            found.append([])
        found[-1].append(run)
    return found
