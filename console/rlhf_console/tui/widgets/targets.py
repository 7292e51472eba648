"""Places on the screen that a letter can lead to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol, runtime_checkable

from textual.geometry import Offset
from textual.screen import Screen

LETTERS = "asdfghjklqwertyuiopzxcvbnm"


@dataclass(frozen=True)
class Target:
    """`place` is on the screen; `go` does what a click there would."""

    place: Offset
    go: Callable[[], object]


@runtime_checkable
class HasTargets(Protocol):
    """A widget with places of its own, or with none; any other that takes the focus is one place."""

    def targets(self) -> Iterable[Target]: ...


def targets_of(screen: Screen[Any]) -> list[Target]:
    """Every place that is in sight, from top to bottom; of two at one place the inner one."""
    found = {target.place: target for target in _targets(screen) if screen.region.contains_point(target.place)}
    return sorted(found.values(), key=lambda target: (target.place.y, target.place.x))


def _targets(screen: Screen[Any]) -> Iterator[Target]:
    for widget in screen.query("*"):
        if not widget.is_on_screen:
            continue
        if isinstance(widget, HasTargets):
            yield from widget.targets()
        elif widget.focusable:
            yield Target(widget.content_region.offset, widget.focus)


def labels(count: int) -> list[str]:
    """As many different names as wanted, all of one length, those of the home row first."""
    length = 1
    while len(LETTERS) ** length < count:
        length += 1
    return ["".join(letters) for letters, _ in zip(product(LETTERS, repeat=length), range(count), strict=False)]
