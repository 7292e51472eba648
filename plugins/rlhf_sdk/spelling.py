"""Help for names that were mistyped."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, allowed: Iterable[str], *, prefix: str = "") -> str:
    """`" Did you mean 'kl_coef'?"`, or nothing where no allowed name is near; `prefix` goes before the name shown."""
    matches = difflib.get_close_matches(name, list(allowed), n=1)
    return f" Did you mean '{prefix}{matches[0]}'?" if matches else ""
