"""Plain data to a plugin's config: completed with defaults, or one clear line naming key, value and what is allowed."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import inspect

from rlhf_sdk.config_types import allowed, default_of, fields_of, options, unwrapped
from rlhf_sdk.spelling import nearest
from rlhf_sdk.trainer import UserError

_PLACE = re.compile(r"^(?P<text>.*?)(?: - at `\$(?P<path>.*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`")
_MISSING = re.compile(r"Object missing required field `(.*)`")
_SEGMENT = re.compile(r"\.?([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_SHOWN = 60


class ConfigError(UserError):
    """`key` is dotted (`optimizer.lr`)."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


def convert_config(config: dict[str, Any], kind: type) -> Any:
    """An instance of `kind`. A section that is given in part keeps its other values as they are by default.

    Raises `ConfigError`.
    """
    try:
        return msgspec.convert(complete(config, kind), kind)
    except msgspec.ValidationError as error:
        raise explain(str(error), config, kind) from None


def complete(config: dict[str, Any], kind: type) -> dict[str, Any]:
    """`config` laid over the defaults of `kind`, section by section; plain data."""
    fields = fields_of(inspect.type_info(kind))
    defaults = {name: default_of(field) for name, field in fields.items() if not field.required}
    return overlay(defaults, config)


def overlay(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Tables are merged key by key; everything else in `above` replaces."""
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        merged[key] = overlay(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return merged


def explain(text: str, config: Any, kind: type) -> ConfigError:
    """What msgspec says of `config`, for people."""
    match = _PLACE.match(text)
    assert match is not None, "the pattern matches any text"
    segments = [name or index for name, index in _SEGMENT.findall(match["path"] or "")]
    info, value, walked = _follow(inspect.type_info(kind), config, segments)
    if unknown := _UNKNOWN.match(match["text"]):
        return _unknown_key(walked, unknown[1], list(fields_of(info)), kind)
    if missing := _MISSING.match(match["text"]):
        key = ".".join([*walked, missing[1]])
        return ConfigError(key, f"{key} must be set: {allowed(fields_of(info)[missing[1]].type)}")
    key = ".".join(walked)
    if match["text"].startswith(("Expected", "Invalid")):
        return ConfigError(key, f"{key} = {_shown(value)}: must be {allowed(info)}")
    return ConfigError(key, f"{key}: {match['text']}" if key else match["text"])


def _unknown_key(section: list[str], name: str, names: list[str], kind: type) -> ConfigError:
    """Suggests a like name in the same section, else the same name in another, else lists what is allowed."""
    key = ".".join([*section, name])
    near = nearest(name, names, prefix="".join(f"{part}." for part in section))
    elsewhere = [option.key for option in options(kind) if option.key.rpartition(".")[2] == name]
    help_text = near or (f" Did you mean '{elsewhere[0]}'?" if elsewhere else f" Allowed: {', '.join(names) or 'none'}")
    return ConfigError(key, f"unknown key {key!r}.{help_text}")


def _follow(info: inspect.Type, value: Any, segments: list[str]) -> tuple[inspect.Type, Any, list[str]]:
    """Goes down a path as far as it is known: the type and the value there, and the segments that led to it."""
    walked: list[str] = []
    for segment in segments:
        below = _below(info, value, segment)
        if below is None:
            break
        info, value = below
        walked.append(segment)
    return info, value, walked


def _below(info: inspect.Type, value: Any, segment: str) -> tuple[inspect.Type, Any] | None:
    field = fields_of(info).get(segment)
    if field is not None:
        return field.type, value.get(segment) if isinstance(value, dict) else None
    plain = unwrapped(info)
    if not segment.isdigit() or not isinstance(value, list | tuple):
        return None
    if isinstance(plain, inspect.TupleType):
        return plain.item_types[int(segment)], value[int(segment)]
    if isinstance(plain, inspect.ListType | inspect.VarTupleType | inspect.SetType):
        return plain.item_type, value[int(segment)]
    return None


def _shown(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
