"""What the kit says of a plugin, and what it is told to look at."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

State = Literal["pass", "warn", "fail", "skipped"]


class Judgement(msgspec.Struct, frozen=True):
    """Whether a rule is kept: what was found, and what to do where it isn't."""

    state: State
    found: str = ""
    advice: str = ""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One rule and one plugin."""

    plugin: str
    rule: str
    demand: str
    state: State
    found: str = ""
    advice: str = ""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One plugin and how to try it.

    `config` has what is not the default; `diverging` what makes the loss infinite, by dotted key; `rules` are those to
    look at (none: all); an attempt that takes longer than `seconds` is ended.
    """

    plugin: str
    config: dict[str, Any] = {}
    diverging: dict[str, Any] = {}
    rules: list[str] = []
    seconds: float = 120.0


class Unjudged(Exception):
    """A rule can't be judged, and why."""
