"""Where a run is struck: drawn from a seed, every kind of place before any of them twice."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence

from benchmarks.torture.moments import DISK, Blow, How

ENDS: tuple[How, ...] = ("stop", "release", "terminate", "requeue")
INTERRUPTIONS: tuple[How, ...] = ("checkpoint", "pause")
SHARE_OF_ENDS = 0.35
SHARE_OF_INTERRUPTIONS = 0.15
SHARE_OF_TORN = 0.5
SHARE_STRUCK_AGAIN = 0.35
MOST_BLOWS = 3


Blows = tuple[Blow, ...]
"""Those of one attempt."""


def draw(places: Sequence[str], count: int, rng: random.Random) -> list[list[Blows]]:
    """For each of `count` runs the blows to its first, second, ... attempt.

    `places` are those of an undisturbed run. First blows go round all kinds of places, later ones fall anywhere.
    """
    return [_blows(at, places, rng) for at in _round_the_kinds(places, count, rng)]


def _round_the_kinds(places: Sequence[str], count: int, rng: random.Random) -> list[int]:
    by_kind: dict[str, list[int]] = defaultdict(list)
    for at, place in enumerate(places, start=1):
        by_kind[place].append(at)
    drawn: list[int] = []
    while len(drawn) < count:
        kinds = sorted(by_kind)
        rng.shuffle(kinds)
        drawn += [rng.choice(by_kind[kind]) for kind in kinds]
    return drawn[:count]


def _blows(at: int, places: Sequence[str], rng: random.Random) -> list[Blows]:
    attempts = [_first(at, places, rng)]
    while len(attempts) < MOST_BLOWS and rng.random() < SHARE_STRUCK_AGAIN:
        attempts.append((Blow("kill", rng.randint(1, len(places))),))
    return attempts


def _first(at: int, places: Sequence[str], rng: random.Random) -> Blows:
    """What the run survives by itself is followed by a kill in the same attempt."""
    drawn = rng.random()
    if drawn < SHARE_OF_ENDS:
        return (Blow(rng.choice(ENDS), at),)
    if drawn < SHARE_OF_ENDS + SHARE_OF_INTERRUPTIONS and at < len(places):
        return Blow(rng.choice(INTERRUPTIONS), at), Blow("kill", rng.randint(at + 1, len(places)))
    needs_space = any(f": {what}" in places[at - 1] for what in DISK)
    return (Blow("torn" if needs_space and rng.random() < SHARE_OF_TORN else "kill", at),)


def full_disks(places: Sequence[str], most: int, rng: random.Random) -> list[Blow]:
    """A disk that is full at a write, for one write and from there on: every one, or `most` of them drawn."""
    writes = [at for at, place in enumerate(places, start=1) if any(f": {what}" in place for what in DISK)]
    chosen = sorted(rng.sample(writes, most)) if len(writes) > most else writes
    return [Blow(how, at) for at in chosen for how in ("full_once", "full")]
