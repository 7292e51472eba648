"""A list of runs in an order, and as a tree that can be folded."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from textual.binding import Binding, BindingType

from rlhf_console.runs.arranging import Arrangement
from rlhf_console.runs.sweep_tree import Listed, Listing, Place, listed_id
from rlhf_console.tui.screens.keeping import KeepingScreen
from rlhf_console.tui.widgets.pick_list import PickList


class RunTree(PickList[Listed]):
    """Runs and points of sweeps, some below others that can be folded."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "screen.fold(True)", "Fold", show=False, id="fold"),
        Binding("right", "screen.fold(False)", "Unfold", show=False, id="unfold"),
    ]


class ArrangedScreen(KeepingScreen):
    """A subclass has the list in `run_tree`, and draws what `arrangement` makes of it as `listing`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("o", "order", "Order", show=False, id="order"),
        Binding("O", "backwards", "Reverse the order", show=False, id="order-backwards"),
        Binding("F", "fold_all", "Fold all, or none", show=False, id="fold-all"),
    ]
    run_tree: RunTree
    arrangement: Arrangement
    listing: Listing

    def draw(self) -> None:
        raise NotImplementedError

    def rearrange(self, arrangement: Arrangement) -> None:
        self.arrangement = arrangement
        self.draw()

    def action_order(self) -> None:
        self.rearrange(self.arrangement.with_next_order())

    def action_backwards(self) -> None:
        self.rearrange(replace(self.arrangement, backwards=not self.arrangement.backwards))

    def action_fold(self, folded: bool) -> None:
        """What is below the item under the cursor; where nothing is to be folded, what is below the one above it."""
        item = self.run_tree.item
        if item is None:
            return
        place = self.place_of(item)
        if folded and (place.folded or not place.below):
            self.run_tree.go(self._place_above(item))
            item = self.run_tree.item or item
        if self.place_of(item).below:
            self.rearrange(self.arrangement.with_fold(listed_id(item), folded=folded))

    def place_of(self, item: Listed) -> Place:
        return self.listing.place(item)

    def _place_above(self, item: Listed) -> int:
        """Where the item stands that this one is below; its own place, where there is none."""
        items, depth = self.listing.runs, self.place_of(item).depth
        start = items.index(item)
        above = (index for index in range(start, -1, -1) if self.place_of(items[index]).depth < depth)
        return next(above, start)

    def action_fold_all(self) -> None:
        groups = frozenset(run_id for run_id, place in self.listing.places.items() if place.below)
        self.rearrange(replace(self.arrangement, folded=frozenset() if self.arrangement.folded else groups))
