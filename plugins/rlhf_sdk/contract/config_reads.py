"""Which keys of a config are read, by watching its types."""

from __future__ import annotations

from typing import Any

from msgspec import inspect

from rlhf_sdk.config_types import fields_of, options, section_of

WORKERS_OWN = {"seed", "checkpoint_every", "keep_checkpoints", "keep_every", "keep_best", "best_is"}
"""Keys with a meaning for the worker."""


class ConfigReads:
    """From `watch` on, whoever reads an attribute of the config is noticed; who copies it whole isn't."""

    def __init__(self) -> None:
        self._read: set[tuple[type, str]] = set()
        self._kind: type | None = None

    def watch(self, kind: type) -> None:
        self._kind = kind
        for section in _sections(inspect.type_info(kind)):
            self._watch_one(section)

    def _watch_one(self, section: type) -> None:
        get: Any = section.__getattribute__
        read = self._read

        def noticed(instance: Any, name: str) -> Any:
            read.add((section, name))
            return get(instance, name)

        setattr(section, "__getattribute__", noticed)  # noqa: B010 (for the type checker it is no attribute)

    def missing(self) -> list[str]:
        """Dotted keys that nobody has read."""
        if self._kind is None:
            return []
        keys = [option.key for option in options(self._kind) if option.key not in WORKERS_OWN]
        return [key for key in keys if not self._was_read(inspect.type_info(self._kind), key)]

    def _was_read(self, info: inspect.Type, key: str) -> bool:
        section = section_of(info)
        first, _, rest = key.partition(".")
        if section is None or first not in fields_of(info):
            return True
        name = next(field.name for field in section.fields if field.encode_name == first)
        return (section.cls, name) in self._read and (not rest or self._was_read(fields_of(info)[first].type, rest))


def _sections(info: inspect.Type) -> set[type]:
    section = section_of(info)
    if section is None:
        return set()
    return {section.cls}.union(*(_sections(field.type) for field in section.fields))


def another_value(value: Any, schema: dict[str, Any]) -> list[Any]:
    """Plain values near `value` that may be allowed, most likely first; none for what can't be guessed."""
    if "enum" in schema:
        return [other for other in schema["enum"] if other != value]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1]
    if isinstance(value, float):
        return [value * 1.5 + 0.125, value * 0.5]
    return [f"{value}x"] if isinstance(value, str) else []


def changed(config: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """`config` with another value at a dotted key."""
    first, _, rest = key.partition(".")
    return {**config, first: changed(config.get(first) or {}, rest, value) if rest else value}


def value_at(config: dict[str, Any], key: str) -> Any:
    first, _, rest = key.partition(".")
    return value_at(config[first], rest) if rest else config[first]
