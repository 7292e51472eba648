"""Votes as a source of comparisons: "preferences" in a config's list called `source`.

"preferences" is the store of the runs' folder, "preferences:PATH" that of another folder, or another file. A run is
made with "preferences@120": the first 120 rows, whatever is voted later. Its trainer gets a file of comparisons.
"""

from __future__ import annotations

import functools
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from rlhf_sdk.files import make_private_directory, write_atomically
from rlhf_sdk.preferences import FILE, Vote
from rlhf_sdk.settled_votes import read_lines, settle
from rlhf_sdk.trainer import UserError

PREFERENCES = "preferences"
_SOURCE = re.compile(rf"{PREFERENCES}(?::(?P<path>.+?))?(?:@(?P<rows>\d+))?")
_IN_SOURCES = re.compile(r"(.*\.)?source\.\d+")


@dataclass(frozen=True)
class VoteSource:
    """`path` of a store or of the folder that has it, empty for the runs' own; `rows`: how many, None for all."""

    path: str = ""
    rows: int | None = None

    @classmethod
    def parse(cls, value: str) -> VoteSource | None:
        """None for what names no votes."""
        found = _SOURCE.fullmatch(value)
        if found is None:
            return cls(value) if _is_store(Path(value).expanduser()) else None
        return cls(found["path"] or "", int(found["rows"]) if found["rows"] else None)

    def __str__(self) -> str:
        rows = "" if self.rows is None else f"@{self.rows}"
        return f"{PREFERENCES}{self.path and f':{self.path}'}{rows}"

    def store(self, root: Path) -> Path:
        path = Path(self.path).expanduser() if self.path else root
        return path / FILE if path.is_dir() or not self.path else path

    def pinned(self, root: Path) -> VoteSource:
        """With the number of rows that there are now. Raises `UserError` where there is no vote, or fewer rows."""
        file = self.store(root)
        if not file.is_file():
            raise UserError(f"no votes: there is no {file}; `rlhf label` and votes in the console make it")
        lines = read_lines(file)
        if self.rows is not None and self.rows > len(lines):
            raise UserError(f"{file} has {len(lines)} rows")
        if not any(isinstance(line, Vote) for line in lines[: self.rows]):
            raise UserError(f"{file} has no vote")
        return VoteSource(self.path, len(lines) if self.rows is None else self.rows)

    @property
    def file_name(self) -> str:
        """Of the comparisons that are made of it."""
        other = f"-{hashlib.blake2b(self.path.encode(), digest_size=4).hexdigest()}" if self.path else ""
        return f"{PREFERENCES}{other}{'' if self.rows is None else f'-{self.rows}'}.jsonl"


def votes_at(key: str, value: str) -> VoteSource | None:
    """The votes that the value of a dotted key names; None where it names none."""
    return VoteSource.parse(value) if _IN_SOURCES.fullmatch(key) else None


def _is_store(path: Path) -> bool:
    """A file of votes by its own name: its lines make sense only together."""
    return path.name == FILE and path.is_file() and any(isinstance(line, Vote) for line in read_lines(path, 1))


class VoteFiles:
    """Makes files of comparisons below `folder`, or where none is given in one that lasts as long as the process.

    `notes` says what was made. A file that is there stays as it is: the votes that the run began with.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self.notes: list[str] = []

    def file_of(self, root: Path, source: VoteSource) -> str:
        """The path of the file. Raises `UserError` where the store can't be read."""
        folder = self._folder or Path(_scratch().name)
        file = folder / source.file_name
        if not file.exists():
            store = source.store(root)
            settled = settle(read_lines(store, source.rows))
            make_private_directory(folder)
            write_atomically(file, b"".join(settled.lines()))
            self.notes.append(f"{store}: {settled.rows} rows: {settled.summary}")
        return str(file)


@functools.cache
def _scratch() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="rlhf-votes-")
