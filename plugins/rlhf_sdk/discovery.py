"""Which plugins are installed, and how to load one. Finding imports nothing of theirs; loading imports the spec."""

from __future__ import annotations

import importlib
from functools import lru_cache
from importlib.metadata import Distribution as Package
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from typing import Any

import msgspec

from rlhf_sdk.run_record import Distribution
from rlhf_sdk.spec import CONTRACT_VERSION, PluginSpec
from rlhf_sdk.spelling import nearest
from rlhf_sdk.trainer import UserError

GROUP = "rlhf.trainers"


def installed_plugins() -> dict[str, EntryPoint]:
    """Entry points by plugin name, from package metadata alone."""
    return {point.name: point for point in entry_points_of_plugins()}


def entry_points_of_plugins() -> EntryPoints:
    """Of every installed distribution, which takes a while to look through."""
    return entry_points(group=GROUP)


def find_plugin(name: str, among: EntryPoints | None = None) -> EntryPoint:
    """`among`: what `entry_points_of_plugins` found, to look through no distribution again.

    Raises `UserError` with the nearest name if there is none, or if two packages claim it.
    """
    points = (entry_points_of_plugins() if among is None else among).select(name=name)
    found = list({(point.value, distribution_of(point)): point for point in points}.values())
    if not found:
        installed = installed_plugins()
        raise UserError(
            f"unknown plugin {name!r}; installed: {', '.join(sorted(installed)) or 'none'}.{nearest(name, installed)}"
        )
    if len(found) > 1:
        raise UserError(f"plugin {name!r} is claimed by {', '.join(point.value for point in found)}: uninstall one")
    return found[0]


def distribution_of(point: EntryPoint) -> Distribution | None:
    return _named(point.dist) if point.dist else None


@lru_cache(maxsize=64)
def _named(package: Package) -> Distribution:
    """Parsing a package's metadata takes as long as finding it, and it has many plugins."""
    about = package.metadata
    return Distribution(about["Name"], about["Version"])


def load_spec(name: str) -> PluginSpec:
    """The plugin's declaration.

    Raises `UserError` for an unknown name, something that is no `PluginSpec`, a field of another type than declared,
    and another contract version; whatever else its module raises on import passes through.
    """
    point = find_plugin(name)
    spec: Any = point.load()
    if not isinstance(spec, PluginSpec):
        raise UserError(f"plugin {name!r}: {point.value} is a {type(spec).__name__}, not a PluginSpec")
    _check_types(spec)
    if spec.contract != CONTRACT_VERSION:
        raise UserError(
            f"plugin {name!r} speaks contract version {spec.contract}; this version speaks {CONTRACT_VERSION}: "
            f"upgrade {'rlhf-console' if spec.contract > CONTRACT_VERSION else 'the plugin'}"
        )
    return spec


def _check_types(spec: PluginSpec) -> None:
    """Raises `UserError` naming the field; a struct that Python code makes is not checked by itself."""
    given = {field: getattr(spec, field) for field in spec.__struct_fields__}
    plain = {field: value if field == "config" else msgspec.to_builtins(value) for field, value in given.items()}
    try:
        msgspec.convert(plain, PluginSpec)
    except msgspec.ValidationError as error:
        raise UserError(f"plugin {spec.name!r}: its PluginSpec is not valid: {error}") from None
    if not issubclass(spec.config, msgspec.Struct):
        raise UserError(f"plugin {spec.name!r}: config is {spec.config.__name__}, not a msgspec.Struct")


def load_attribute(target: str) -> Any:
    """What "module:attribute" names."""
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)
