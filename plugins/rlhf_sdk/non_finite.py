"""Numbers on their way through JSON, which has no NaN and no infinities: "NaN", "Infinity" and "-Infinity"."""

from __future__ import annotations

import math
from typing import Any

_NON_FINITE = {math.inf: "Infinity", -math.inf: "-Infinity"}
_FROM_TEXT = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_NUMBER_FIELDS = ("seconds", "figure", "tolerance")
_NUMBER_MAPS = ("values", "metrics", "figures", "token_values")


def spell_non_finite(value: Any) -> Any:
    """Plain data in which NaN and infinities are spelled as the agreed strings."""
    if isinstance(value, float) and not math.isfinite(value):
        return _NON_FINITE.get(value, "NaN")
    if isinstance(value, dict):
        return {key: spell_non_finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [spell_non_finite(item) for item in value]
    return value


def read_non_finite(value: Any) -> Any:
    """The inverse of `spell_non_finite` for a field that is known to be a number, or a list of them."""
    if isinstance(value, list):
        return [read_non_finite(item) for item in value]
    return _FROM_TEXT.get(value, value) if isinstance(value, str) else value


def restore_numbers(fields: dict[str, Any]) -> dict[str, Any]:
    """The inverse of `spell_non_finite` for the fields of a record that are numbers."""
    restored = dict(fields)
    for key in _NUMBER_FIELDS:
        if key in restored:
            restored[key] = read_non_finite(restored[key])
    for key in _NUMBER_MAPS:
        if isinstance(restored.get(key), dict):
            restored[key] = {name: read_non_finite(number) for name, number in restored[key].items()}
    return restored
