"""Hyper-parameters that may change while a run lives: which they are, a config with another value, and what a resumed
run must set again to repeat itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from rlhf_sdk.config_errors import ConfigError, convert_config
from rlhf_sdk.config_types import options
from rlhf_sdk.events import ValueSet, decode_event
from rlhf_sdk.spelling import nearest
from rlhf_sdk.tail import decoded, newest_first


def live_keys(kind: type) -> list[str]:
    """The dotted keys of a config type whose fields are declared live: `Meta(extra={"live": True})`."""
    return [option.key for option in options(kind) if option.live]


def with_value(config: Any, key: str, value: Any) -> Any:
    """`config` with another value for one live key.

    Raises `ConfigError` for a key that is unknown or not live, and for a value out of its range.
    """
    kind = type(config)
    live, known = live_keys(kind), [option.key for option in options(kind)]
    if key not in known:
        help_text = nearest(key, live) or nearest(key, known) or f" Live are: {_listed(live)}"
        raise ConfigError(key, f"unknown key {key!r}.{help_text}")
    if key not in live:
        raise ConfigError(key, f"{key} can't be changed while the run lives; live are: {_listed(live)}")
    plain = msgspec.to_builtins(config)
    *sections, name = key.split(".")
    place = plain
    for section in sections:
        place = place[section]
    place[name] = value
    return convert_config(plain, kind)


def _listed(keys: list[str]) -> str:
    return ", ".join(keys) or "none"


def value_of(config: Any, key: str) -> Any:
    """The value of a dotted key, as plain data."""
    for name in key.split("."):
        config = getattr(config, name)
    return msgspec.to_builtins(config)


def values_to_repeat(events_file: Path, *, after: int) -> list[ValueSet]:
    """What was set, by hand, after event number `after`, in the order of the steps at which to set it again.

    A value that a later attempt set by hand takes the place of those that an earlier one set at the same step or later.
    """
    kept: list[ValueSet] = []
    for event in reversed(list(_values_set(events_file, after))):
        if not event.again:
            kept = [old for old in kept if not _displaces(event, old)]
            kept.append(event)
    return sorted(kept, key=lambda event: event.step)


def _displaces(new: ValueSet, old: ValueSet) -> bool:
    return new.key == old.key and new.attempt > old.attempt and new.step <= old.step


class _Numbered(msgspec.Struct):
    seq: int
    kind: str


def _values_set(events_file: Path, after: int) -> Iterator[ValueSet]:
    """The newest first. There may be a gigabyte of other events: what is older is not read."""
    decoder = msgspec.json.Decoder(_Numbered)
    for line in newest_first(events_file):
        for found in decoded([line], decoder.decode):
            if found.seq <= after:
                return
            event = decode_event(line) if found.kind == "value_set" else None
            if isinstance(event, ValueSet):
                yield event
