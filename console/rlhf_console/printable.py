"""Text from models, data and logs, made harmless for a terminal."""

from __future__ import annotations

import unicodedata

_HIDDEN_CATEGORIES = ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp")


def printable(text: str, *, keep_newlines: bool = False) -> str:
    """`text` with control, bidirectional, zero-width and unassigned characters as escapes such as \\x1b or \\u202e."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(character, keep_newlines) for character in text)


def _shown(character: str, keep_newlines: bool) -> str:
    if character == "\n" and keep_newlines:
        return character
    if unicodedata.category(character) not in _HIDDEN_CATEGORIES:
        return character
    return character.encode("unicode_escape").decode("ascii")
