"""What leaves the console: text for the clipboard and the pager, a picture of the screen. All of it made harmless."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

from rlhf_console.printable import printable
from rlhf_sdk.trainer import UserError

MOST_COPIED = 74_994
"""Bytes that terminals take by OSC 52 at least: 100,000 of base64 less the frame around them."""

FONT_FACES = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
"""They would make readers fetch fonts from elsewhere; the browser's own monospace does."""

WHILE_READING = {signal.SIGINT: signal.SIG_IGN, signal.SIGHUP: signal.SIG_DFL, signal.SIGTERM: signal.SIG_DFL}
"""ctrl+c is for the pager; a terminal that goes away ends the console at once, whose loop stands still meanwhile."""


@runtime_checkable
class HasText(Protocol):
    """A widget with something to read under its cursor."""

    def copied_text(self) -> str: ...

    def lines_of_text(self) -> Iterator[str]: ...


def for_clipboard(text: str) -> str:
    """As much of `text` as a terminal takes."""
    return printable(text, keep_newlines=True).encode()[:MOST_COPIED].decode(errors="ignore")


def page(lines: Iterable[str]) -> None:
    """Shows `lines` in $PAGER, else in less, until that is left, which may be before the last line.

    Raises `UserError` where there is no such program.
    """
    command = shlex.split(os.environ.get("PAGER") or "less")
    before = {number: signal.signal(number, handler) for number, handler in WHILE_READING.items()}
    try:
        with subprocess.Popen(command, stdin=subprocess.PIPE, encoding="utf-8") as pager:
            assert pager.stdin is not None
            pager.stdin.writelines(f"{printable(line)}\n" for line in lines)
    except BrokenPipeError:
        pass
    except OSError as error:
        raise UserError(f"$PAGER: {command[0]}: {error.strerror}") from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def save_picture(svg: str, folder: Path) -> Path:
    """Writes a picture of the screen, and returns its file.

    Raises `UserError` where it can't be written.
    """
    file = folder / time.strftime("rlhf-console-%Y%m%d-%H%M%S.svg")
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(without_fonts(svg))
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}") from None
    return file.absolute()


def without_fonts(svg: str) -> str:
    return FONT_FACES.sub("", svg)
