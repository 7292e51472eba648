"""Installed launchers, listed without importing them; what they declare is kept as that of plugins is."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import EntryPoint
from typing import Any

from rlhf_console.described import store, stored
from rlhf_console.plugins import Plugin
from rlhf_sdk.discovery import distribution_of
from rlhf_sdk.launching.asking import describe_launcher
from rlhf_sdk.launching.finding import find_launcher, installed_launchers
from rlhf_sdk.trainer import UserError


def describe(name: str) -> dict[str, Any]:
    """Summary, options, `arrays`, `meets`. Raises `UserError` for an unknown or broken launcher."""
    point = find_launcher(name)
    kept = stored(point)
    if kept is None:
        kept = describe_launcher(name)
        store(point, kept)
    return kept


def list_launchers() -> list[Plugin]:
    """Every installed launcher by name; a broken one is a row with its cause."""
    points = sorted(installed_launchers().values(), key=lambda point: point.name)
    with ThreadPoolExecutor(max_workers=4) as pool:
        return list(pool.map(_row, points))


def _row(point: EntryPoint) -> Plugin:
    distribution = distribution_of(point)
    origin = (distribution.name, distribution.version) if distribution else ("", "")
    try:
        return Plugin(point.name, *origin, summary=describe(point.name)["summary"], kind="launcher")
    except UserError as error:
        return Plugin(point.name, *origin, state="broken", problem=str(error), kind="launcher")
