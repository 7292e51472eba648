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


def hub_advice(name: str, error: Exception, *, kind: str = "model") -> str:
    """What to do where `name` can't be had from the hub: accept its terms and log in, or download it elsewhere."""
    said = f"{type(error).__name__}: {error}"
    if any(sign in said for sign in ("401", "403", "gated", "Gated", "authenticated", "Unauthorized", "private")):
        return "it is gated or private: accept its terms on the hub, then `hf auth login` or set HF_TOKEN"
    option = "" if kind == "model" else f"--repo-type {kind} "
    return (
        "no such file, and the hub can't be reached or has none; download it where there is a connection with "
        f"`hf download {option}{name}` and give the folder ({type(error).__name__})"
    )
