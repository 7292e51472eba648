"""Keys that a person chose, checked against every place where they would work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from textual.binding import Binding
from textual.keys import Keys

from rlhf_console.settings import Settings, settings_file
from rlhf_sdk.spelling import nearest
from rlhf_sdk.trainer import UserError

MODIFIERS = frozenset({"ctrl", "shift", "alt", "super", "hyper", "meta"})
NAMED = frozenset(key.value for key in Keys)
SIGNS = {
    "plus": "+", "minus": "-", "comma": ",", "full_stop": ".", "slash": "/", "question_mark": "?", "equals_sign": "=",
    "left_square_bracket": "[", "right_square_bracket": "]", "colon": ":", "semicolon": ";", "exclamation_mark": "!",
    "asterisk": "*", "number_sign": "#", "apostrophe": "'", "backslash": "\\", "underscore": "_", "at": "@",
    "less_than_sign": "<", "greater_than_sign": ">", "percent_sign": "%", "ampersand": "&", "tilde": "~",
}  # fmt: skip
"""Textual's names of keys that are signs."""
SHOWN = {"escape": "esc", "up": "↑", "down": "↓", "left": "←", "right": "→", "enter": "⏎"}

Places = Mapping[str, tuple[type[Any], ...]]
"""By name: the classes whose bindings work there, the innermost first."""


def bindings_of(holder: type[Any]) -> Iterator[Binding]:
    """Every binding of a class and of those it comes from, one for each key."""
    for kind in holder.__mro__:
        yield from Binding.make_bindings(vars(kind).get("BINDINGS", ()))


def keymap_of(settings: Settings, places: Places) -> dict[str, str]:
    """Keys by binding id. Raises `UserError` naming the file of settings and what is wrong there."""
    try:
        return checked_keymap(settings.keys, places)
    except UserError as error:
        raise UserError(f"{settings_file()}: {error}") from None


def checked_keymap(keys: Mapping[str, str], places: Places) -> dict[str, str]:
    """`keys` (by binding id), as they are.

    Raises `UserError` for an id that nothing has, a key that no keyboard has, and one key for two actions of one place.
    """
    known = sorted({binding.id for holders in places.values() for binding in _all(holders) if binding.id is not None})
    for action, wanted in keys.items():
        if action not in known:
            raise UserError(f"keys.{action}: no action is called so.{nearest(action, known) or _listed(known)}")
        for key in split_keys(wanted):
            if not _is_key(key):
                raise UserError(f"keys.{action} = {wanted!r}: {key!r} is not a key; for example P, f5 and ctrl+g are")
    for place, holders in places.items():
        _refuse_clash(place, holders, keys)
    return dict(keys)


def shown_key(key: str) -> str:
    """As people read it: `ctrl+g`, `?`, `shift+←`."""
    spelt = _one_spelling(key)
    head, plus, last = spelt.rpartition("+")
    return f"{head}{plus}{SHOWN.get(last, last)}" if last else spelt


def split_keys(keys: str) -> list[str]:
    """The keys of a comma-separated list; a comma alone is the key with that sign."""
    return [keys] if keys == "," else [key.strip() for key in keys.split(",")]


def _refuse_clash(place: str, holders: tuple[type[Any], ...], keys: Mapping[str, str]) -> None:
    taken = {_one_spelling(binding.key): binding for binding in _all(holders) if binding.id not in keys}
    here = {binding.id for binding in _all(holders)}
    chosen: dict[str, str] = {}
    for action, wanted in keys.items():
        for key in split_keys(wanted) if action in here else ():
            other = taken.get(_one_spelling(key))
            if other is not None:
                raise UserError(_clash(action, wanted, key, place, other.id or other.description or other.action))
            if chosen.setdefault(_one_spelling(key), action) != action:
                raise UserError(_clash(action, wanted, key, place, chosen[_one_spelling(key)]))


def _clash(action: str, wanted: str, key: str, place: str, other: str) -> str:
    return f"keys.{action} = {wanted!r}: {key!r} is the key of {other} already ({place}); give one of them another key"


def _all(holders: tuple[type[Any], ...]) -> Iterator[Binding]:
    return (binding for holder in holders for binding in bindings_of(holder))


def _is_key(key: str) -> bool:
    *modifiers, last = [key] if key == "+" else key.split("+")
    known = last in NAMED or last in SIGNS or (len(last) == 1 and last.isprintable())
    return known and MODIFIERS.issuperset(modifiers)


def _one_spelling(key: str) -> str:
    """Signs have names too."""
    head, plus, last = key.rpartition("+")
    return f"{head}{plus}{SIGNS.get(last, last)}" if last else key


def _listed(known: list[str]) -> str:
    return f" There is {', '.join(known)}"
