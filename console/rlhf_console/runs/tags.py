"""Words that people give runs, kept in the run directory beside the record that never changes."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from rlhf_sdk.bounds import read_record
from rlhf_sdk.files import write_atomically
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.trainer import UserError

FILE = "tags.json"
MARK = "#"
_TAG = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")


def read_tags(run: RunDir) -> tuple[str, ...]:
    """In the order of the alphabet. Raises `UserError` for a damaged file."""
    file = run.path / FILE
    try:
        return tuple(sorted(set(msgspec.json.decode(read_record(file), type=list[str]))))
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise UserError(f"{file} can't be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is damaged: {error}; delete it and tag the run anew") from error


def write_tags(run: RunDir, tags: Iterable[str]) -> tuple[str, ...]:
    """The tags that the run has from now on. Raises `UserError` for one that can't be used, or an unwritable folder."""
    wanted = tuple(sorted({checked_tag(tag) for tag in tags}))
    try:
        write_atomically(run.path / FILE, msgspec.json.encode(wanted))
    except OSError as error:
        raise UserError(f"{run.path / FILE} can't be written: {error.strerror}") from error
    return wanted


def checked_tag(text: str) -> str:
    """The tag without its mark, in small letters. Raises `UserError` if it can't be one."""
    tag = text.strip().removeprefix(MARK).lower()
    if not _TAG.fullmatch(tag):
        raise UserError(
            f"tag {text!r} can't be used: letters, digits, '.', '_' and '-' are allowed, at most 40, "
            "a letter or digit first"
        )
    return tag
