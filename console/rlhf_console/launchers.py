"""Installed launchers, listed without importing them; what they declare is kept as that of plugins is."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import EntryPoint, EntryPoints
from typing import Any

from rlhf_console.described import store, stored
from rlhf_console.plugins import Plugin
from rlhf_sdk.discovery import distribution_of
from rlhf_sdk.launching.asking import describe_launcher
from rlhf_sdk.launching.finding import entry_points_of_launchers, find_launcher
from rlhf_sdk.trainer import UserError


def describe(name: str, among: EntryPoints | None = None) -> dict[str, Any]:
    """Summary, options, `arrays`, `meets`; `among`: entry points that are known already.

    Raises `UserError` for an unknown or broken launcher.
    """
    point = find_launcher(name, among)
    kept = stored(point)
    if kept is None:
        kept = describe_launcher(name)
        store(point, kept)
    return kept


def list_launchers() -> list[Plugin]:
    """Every installed launcher by name; a broken one is a row with its cause."""
    among = entry_points_of_launchers()
    points = sorted({point.name: point for point in among}.values(), key=lambda point: point.name)
    with ThreadPoolExecutor(max_workers=4) as pool:
        return list(pool.map(lambda point: _row(point, among), points))


def _row(point: EntryPoint, among: EntryPoints) -> Plugin:
    distribution = distribution_of(point)
    origin = (distribution.name, distribution.version) if distribution else ("", "")
    try:
        return Plugin(point.name, *origin, summary=describe(point.name, among)["summary"], kind="launcher")
    except UserError as error:
        return Plugin(point.name, *origin, state="broken", problem=str(error), kind="launcher")
