"""Hyper-parameters that may change while a run lives, and what they are now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rlhf_console import plugins
from rlhf_sdk.config_errors import overlay
from rlhf_sdk.events import ValueSet, decode_event
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.tail import Tail


@dataclass(frozen=True)
class LiveValue:
    """`now` differs from `at_start` where somebody has set it."""

    key: str
    now: Any
    at_start: Any
    allowed: str
    description: str


def live_values(run: RunDir, described: dict[str, Any]) -> list[LiveValue]:
    """Those that the run's plugin declares live, with the values of the run's config and what was set since."""
    config, newest = run.record().config, newest_values(run)
    found = []
    for option in described["options"]:
        key = option["key"]
        if option.get("live") and _has(config, key):
            start = _value(config, key)
            found.append(LiveValue(key, newest.get(key, start), start, option["allowed"], option["description"]))
    return found


def checked_value(run: RunDir, key: str, value: Any) -> Any:
    """`value` as the run's plugin takes it. Raises `UserError` with what is allowed."""
    record, changed = run.record(), value
    for name in reversed(key.split(".")):
        changed = {name: changed}
    return _value(plugins.validate(record.plugin, overlay(record.config, changed)), key)


def newest_values(run: RunDir) -> dict[str, Any]:
    """What was set since the run began, by key."""
    events = Tail(run.events_file, _value_set)
    return {event.key: event.value for event in events if event is not None}


def _value_set(line: bytes) -> ValueSet | None:
    event = decode_event(line) if b'"kind":"value_set"' in line else None
    return event if isinstance(event, ValueSet) else None


def _has(config: Any, key: str) -> bool:
    head, _, rest = key.partition(".")
    return isinstance(config, dict) and head in config and (not rest or _has(config[head], rest))


def _value(config: Any, key: str) -> Any:
    for name in key.split("."):
        config = config[name]
    return config
