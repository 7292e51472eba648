"""A run's config as rows: key, value, where it came from; and beside another run's."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from rlhf_console.tui.drawing.cells import Row, fit, text_cells
from rlhf_sdk.run_record import RunRecord

DEFAULT = "default"
KEY_SHARE, LEAST_KEY = 0.4, 24
MISSING = object()


def flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys with their values, sections opened."""
    for key, value in config.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def config_rows(record: RunRecord, now: Mapping[str, Any], width: int, *, all_keys: bool, hint: str) -> list[Row]:
    """What was chosen first of all; with `all_keys` the defaults too. `now` has the values that were set since.

    `hint` is how the others are shown.
    """
    values = dict(flat(record.config))
    shown = {key: value for key, value in values.items() if all_keys or _chosen(record, key) or key in now}
    hidden = len(values) - len(shown)
    rows = [_about(record, width), []]
    rows += [_row(record, key, value, now, width) for key, value in shown.items()]
    how = f": {hint}" if hint else ""
    return rows + ([[], text_cells(f"{hidden} more keys have their defaults{how}", "dim")] if hidden else [])


def _chosen(record: RunRecord, key: str) -> bool:
    return record.provenance.get(key, DEFAULT) != DEFAULT


def _about(record: RunRecord, width: int) -> Row:
    git = f"git {record.git.revision[:9]}{' (changed)' if record.git.dirty else ''}" if record.git else ""
    parents = ", ".join(f"{role}: {run}" for role, run in record.parents.items())
    parts = [record.plugin, record.profile and f"profile {record.profile}", f"seed {record.seed}", git, parents]
    return fit(text_cells("  ".join(part for part in parts if part), "dim"), width)


def _row(record: RunRecord, key: str, value: Any, now: Mapping[str, Any], width: int) -> Row:
    key_width = max(int(width * KEY_SHARE), LEAST_KEY)
    origin = record.provenance.get(key, DEFAULT)
    row = fit(text_cells(key, "" if origin == DEFAULT else "bold"), key_width - 1) + text_cells(" ")
    row += text_cells(_plain(value))
    if key in now:
        row += text_cells(f" → {_plain(now[key])} set since", "accent")
    return fit(row + text_cells(f"  {origin}", "dim"), width)


def difference_rows(here: RunRecord, there: RunRecord, width: int) -> list[Row]:
    """Only what differs: plugin, profile, seed and revision first, then the keys of the configs."""
    about = _differing(_outside_config(here), _outside_config(there), width)
    keys = _differing(dict(flat(here.config)), dict(flat(there.config)), width)
    heading = fit(text_cells(f"{len(keys)} keys differ", "title"), width)
    names = _sides("", here.id, there.id, width)
    return [heading, names, [], *about, *keys]


def _outside_config(record: RunRecord) -> dict[str, Any]:
    found = {"(plugin)": record.plugin, "(profile)": record.profile, "(seed)": record.seed}
    return found | (
        {"(git)": record.git.revision[:9] + (", changed" if record.git.dirty else "")} if record.git else {}
    )


def _differing(mine: Mapping[str, Any], others: Mapping[str, Any], width: int) -> list[Row]:
    keys = sorted(key for key in mine.keys() | others.keys() if mine.get(key, MISSING) != others.get(key, MISSING))
    return [_sides(key, _side(key, mine), _side(key, others), width) for key in keys]


def _sides(key: str, left: str, right: str, width: int) -> Row:
    key_width = max(int(width * KEY_SHARE), LEAST_KEY)
    half = max((width - key_width) // 2, 1)
    row = fit(text_cells(key), key_width - 1) + text_cells(" ")
    row += fit(text_cells(left, "series-0"), half - 1) + text_cells(" ")
    return fit(row + text_cells(right, "series-1"), width)


def _side(key: str, values: Mapping[str, Any]) -> str:
    return _plain(values[key]) if key in values else "(not there)"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value)
