"""Colours: dark, light, the terminal's own sixteen, and a set that colour-blind people can tell apart.

A chart's lines have signs as well as colours, states have signs and words: a theme is never needed to read anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from textual.theme import BUILTIN_THEMES, Theme

OKABE_ITO = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#f0e442")
"""Okabe and Ito, "Color Universal Design" (2008), without black and blue."""


def _series(colours: Sequence[str]) -> dict[str, str]:
    return {f"series-{number}": colour for number, colour in enumerate(colours)}


DARK = Theme(
    name="dark",
    primary="#0178d4",
    secondary="#004578",
    warning="#ffa62b",
    error="#ba3c5b",
    success="#4ebf71",
    accent="#ffa62b",
    foreground="#e0e0e0",
    background="#121212",
    surface="#1e1e1e",
    variables=_series(OKABE_ITO),
)
LIGHT = Theme(
    name="light",
    dark=False,
    primary="#004578",
    secondary="#0178d4",
    warning="#ffa62b",
    error="#ba3c5b",
    success="#4ebf71",
    accent="#ffa62b",
    background="#f4f4f4",
    surface="#e8e8e8",
    panel="#dcdcdc",
    variables={
        **_series(("#0669c9", "#b36b00", "#008d4f", "#b0467f", "#903000", "#70323f")),
        "footer-key-foreground": "#004578",
        "text-warning": "#7a4b00",
        "text-success": "#1f6b36",
        "text-error": "#9a1b3a",
    },
)
ANSI_SERIES = ("ansi_cyan", "ansi_yellow", "ansi_green", "ansi_magenta", "ansi_red", "ansi_blue")
READABLE = {"text-primary": "ansi_bright_blue"}
TERMINALS = BUILTIN_THEMES["ansi-dark"]
ANSI = replace(TERMINALS, name="ansi", variables={**TERMINALS.variables, **_series(ANSI_SERIES), **READABLE})
COLOUR_BLIND = Theme(
    name="colour-blind",
    primary="#56b4e9",
    secondary="#2f6f93",
    warning="#ffff18",
    error="#e9880c",
    success="#56b4e9",
    accent="#ffff18",
    foreground="#e8e8e8",
    background="#121212",
    surface="#1e1e1e",
    variables={
        **_series(("#56b4e9", "#e9880c", "#097768", "#ffff18", "#a24716", "#d6eded")),
        "text-success": "#56b4e9",
        "text-warning": "#ffff18",
        "text-error": "#ff9a2e",
    },
)
THEMES = (DARK, LIGHT, ANSI, COLOUR_BLIND)
