"""What can go wrong, by who can mend it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EngineError(Exception):
    """Base of the engine's own errors."""


class ConfigError(EngineError):
    """A setting, model or tokenizer that can't work; the message names key, value and what is allowed."""


class DataError(EngineError):
    """Input data that can't be used; the message names file, row or column, and what was found."""


class NonFiniteError(EngineError):
    """A loss or gradient that is not finite, raised before the optimizer steps."""


def nearest(name: str, allowed: Iterable[str]) -> str:
    """`" Did you mean 'kl_coef'?"`, or nothing where no allowed name is near."""
    matches = difflib.get_close_matches(name, list(allowed), n=1)
    return f" Did you mean '{matches[0]}'?" if matches else ""
