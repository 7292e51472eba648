"""Text from models, data and logs, made harmless for a terminal. What the command line prints goes through here."""

from __future__ import annotations

import io
import json
import sys
import unicodedata
from collections.abc import Callable
from typing import IO, cast

_HIDDEN_CATEGORIES = ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp")
_DRAWN_AS_NOTHING = frozenset(
    chr(code)
    for first, last in (
        *((0x034F, 0x034F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x2800, 0x2800)),
        *((0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFFA0, 0xFFA0), (0xE0100, 0xE01EF)),
    )
    for code in range(first, last + 1)
)
"""Letters, marks and symbols that leave no ink: fillers, joiners, variation selectors, the empty braille cell."""


class _Shown(dict[int, str]):
    """How each character is shown, by code point, found out at first sight; what is in `kept` stays."""

    def __init__(self, escaped: Callable[[str], str], kept: str = "") -> None:
        self._escaped, self._kept = escaped, kept

    def __missing__(self, code: int) -> str:
        character = chr(code)
        shown = self._escaped(character) if _is_hidden(character) and character not in self._kept else character
        self[code] = shown
        return shown


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character) in _HIDDEN_CATEGORIES or character in _DRAWN_AS_NOTHING


def _as_python(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _as_json(character: str) -> str:
    return json.dumps(character)[1:-1]


_ONE_LINE, _LINES, _JSON = _Shown(_as_python), _Shown(_as_python, "\n"), _Shown(_as_json, "\n")


def printable(text: str, *, keep_newlines: bool = False) -> str:
    """`text` with control, bidirectional, zero-width and unassigned characters as escapes such as \\x1b or \\u202e."""
    if text.isascii() and text.isprintable():
        return text
    return text.translate(_LINES if keep_newlines else _ONE_LINE)


def printable_json(document: str) -> str:
    """The same JSON document with what `printable` would escape as JSON's own escapes; line breaks between its parts
    stay."""
    return document if document.isascii() and "\x7f" not in document else document.translate(_JSON)


class PrintableStream(io.TextIOWrapper):
    """Shows what is written to it as `printable` does, line breaks kept."""

    def write(self, text: str) -> int:
        self.write_styled(printable(text, keep_newlines=True))
        return len(text)

    def write_styled(self, text: str) -> int:
        """Writes `text` as it is: for a library that draws."""
        return super().write(text)


class StyledStream:
    """The door of a library that draws with control sequences to a `PrintableStream`."""

    def __init__(self, stream: PrintableStream) -> None:
        self._stream = stream
        self.encoding, self.fileno, self.flush, self.isatty = (
            stream.encoding,
            stream.fileno,
            stream.flush,
            stream.isatty,
        )

    def write(self, text: str) -> int:
        return self._stream.write_styled(text)


def styled_stderr() -> IO[str]:
    """Standard error for a library that draws; what is drawn must be printable already."""
    return cast(IO[str], StyledStream(sys.stderr) if isinstance(sys.stderr, PrintableStream) else sys.stderr)


def make_streams_printable() -> None:
    """From now on nothing that this process prints, tracebacks included, can steer the terminal."""
    for name in ("stdout", "stderr"):
        before = getattr(sys, name)
        buffering = before.line_buffering
        encoding = "utf-8" if before.encoding.lower() in ("ascii", "us-ascii", "ansi_x3.4-1968") else before.encoding
        stream = PrintableStream(
            before.detach(), encoding=encoding, errors="backslashreplace", line_buffering=buffering
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
