"""Which launchers are installed, and how to load one. Finding imports nothing of theirs."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints, entry_points
from typing import Any

import msgspec

from rlhf_sdk.launching.contract import LAUNCHER_CONTRACT, LauncherSpec
from rlhf_sdk.spelling import nearest
from rlhf_sdk.trainer import UserError

GROUP = "rlhf.launchers"


def installed_launchers() -> dict[str, EntryPoint]:
    """Entry points by launcher name, from package metadata alone."""
    return {point.name: point for point in entry_points_of_launchers()}


def entry_points_of_launchers() -> EntryPoints:
    """Of every installed distribution, which takes a while to look through."""
    return entry_points(group=GROUP)


def find_launcher(name: str, among: EntryPoints | None = None) -> EntryPoint:
    """`among`: what `entry_points_of_launchers` found, to look through no distribution again.

    Raises `UserError` with the nearest name if there is none, or if two packages claim it."""
    points = (entry_points_of_launchers() if among is None else among).select(name=name)
    found = list({point.value: point for point in points}.values())
    if not found:
        installed = installed_launchers()
        raise UserError(
            f"unknown launcher {name!r}; installed: {', '.join(sorted(installed)) or 'none'}.{nearest(name, installed)}"
        )
    if len(found) > 1:
        raise UserError(f"launcher {name!r} is claimed by {', '.join(point.value for point in found)}: uninstall one")
    return found[0]


def load_launcher(name: str) -> LauncherSpec:
    """The launcher's declaration.

    Raises `UserError` for an unknown name, something that is no `LauncherSpec`, and another contract version; whatever
    else its module raises on import passes through.
    """
    point = find_launcher(name)
    spec: Any = point.load()
    if not isinstance(spec, LauncherSpec) or not issubclass(spec.options, msgspec.Struct):
        raise UserError(f"launcher {name!r}: {point.value} is not a LauncherSpec whose options are a msgspec.Struct")
    if spec.contract != LAUNCHER_CONTRACT:
        raise UserError(
            f"launcher {name!r} speaks contract version {spec.contract}; this version speaks {LAUNCHER_CONTRACT}"
        )
    return spec
