"""What a screen looks like, as text: its characters, and for each theme a map of styles with a legend.

pytest-textual-snapshot keeps an SVG of 20 to 60 KB for each screen, size and theme: 4 MB for what is 0.4 MB here, and a
changed one can't be read as a diff. `make snapshots` writes them anew.
"""

from __future__ import annotations

import difflib
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from string import ascii_lowercase, ascii_uppercase, digits

import pytest
from rich.style import Style
from textual.pilot import Pilot

FOLDER = Path(__file__).parent / "snapshots"
RENEW = "RENEW_SNAPSHOTS"
NAMES = ascii_lowercase + ascii_uppercase + digits
SETTLE_SECONDS, PATIENCE_ROUNDS = 0.1, 300
UNDER_WAY = ("% read", "being asked")
"""Said while something is still to come."""


@contextmanager
def still_clock(monkeypatch: pytest.MonkeyPatch, folder: Path, now: float) -> Iterator[None]:
    """Within, it is always `now`, in UTC, and the current folder is `folder`."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr("time.time", lambda: now)
    yield
    monkeypatch.undo()
    time.tzset()


Looks = list[list[tuple[str, str]]]
"""By row: stretches of text with their style in words."""


async def settled(pilot: Pilot[None], *wanted: str) -> Looks:
    """The screen, as soon as all of `wanted` stands there and nothing moves any more."""
    before: Looks = []
    for _ in range(PATIENCE_ROUNDS):
        await pilot.pause(SETTLE_SECONDS)
        looks = looks_of(pilot)
        text = "\n".join("".join(text for text, _ in row) for row in looks)
        still = looks == before and not any(each in text for each in UNDER_WAY)
        if still and all(each in text for each in wanted):
            return looks
        before = looks
    raise AssertionError(f"{wanted!r} not shown, or the screen did not settle:\n{text}")


def looks_of(pilot: Pilot[None]) -> Looks:
    strips = pilot.app.screen._compositor.render_strips()
    return [[(segment.text, in_words(segment.style)) for segment in strip] for strip in strips]


def in_words(style: Style | None) -> str:
    """Colours and attributes."""
    if style is None:
        return "plain"
    attributes = [name for name in ("bold", "dim", "italic", "underline", "strike", "reverse") if getattr(style, name)]
    colours = [str(colour.name) if colour is not None else "-" for colour in (style.color, style.bgcolor)]
    return " ".join([" on ".join(colours), *attributes])


async def snapshot(pilot: Pilot[None], themes: Sequence[str], *wanted: str) -> str:
    """The screen in each of `themes`; it is in the first of them before and after."""
    parts: list[str] = []
    for theme in themes:
        pilot.app.theme = theme
        looks = await settled(pilot, *wanted)
        if not parts:
            parts += ["".join(text for text, _ in row).rstrip() for row in looks]
        parts += ["", f"== {theme}", *styles_of(looks)]
    pilot.app.theme = themes[0]
    return "\n".join(parts) + "\n"


def styles_of(looks: Looks) -> list[str]:
    """A letter for each cell, blank for the commonest style; then what the letters mean."""
    cells: Counter[str] = Counter()
    for row in looks:
        for text, style in row:
            cells[style] += len(text)
    names = dict(zip(sorted(cells, key=lambda style: (-cells[style], style)), " " + NAMES, strict=False))
    rows = ["".join(names[style] * len(text) for text, style in row).rstrip() for row in looks]
    return [*rows, *(f"{name!r}: {style}" for style, name in names.items())]


def check(name: str, found: str) -> list[str]:
    """The lines that differ from the kept snapshot, which is written instead where that is wanted."""
    file = FOLDER / f"{name}.txt"
    if os.environ.get(RENEW):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(found)
    kept = file.read_text() if file.exists() else ""
    return list(difflib.unified_diff(kept.split("\n"), found.split("\n"), name, "now", lineterm="", n=0))
