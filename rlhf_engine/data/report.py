"""What happened to the rows of a data set on their way to the trainer."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path
from typing import Any

from rlhf_engine.errors import DataError

EXCERPT = 80
NAMED_ROWS = 3


@dataclass(frozen=True)
class SkippedRow:
    """A row that can't be used: where it stands, why, and the beginning of the value."""

    file: str
    row: int
    reason: str
    value: str
    id: str = ""


@dataclass
class DataReport:
    """Counts of everything that was read, mended, left out and cut."""

    read: int = 0
    kept: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    skipped: list[SkippedRow] = field(default_factory=list)

    def skip(self, file: str, row: int, reason: str, value: Any, row_id: object = "") -> None:
        """Notes a row that can't be used; `row_id`: what `data.columns.id` says of it."""
        self.skipped.append(SkippedRow(file, row, reason, str(value)[:EXCERPT], str(row_id)))

    def summary(self) -> str:
        """One line for the record."""
        parts = [f"{self.kept} of {self.read} rows kept", *(f"{n} {what}" for what, n in sorted(self.counts.items()))]
        if self.skipped:
            reasons = Counter(row.reason for row in self.skipped)
            parts.append("skipped: " + ", ".join(f"{n} {reason}" for reason, n in sorted(reasons.items())))
        return "; ".join(parts)

    def check(self, max_bad_share: float) -> None:
        """Raises DataError if nothing is left, or if more than `max_bad_share` of the rows can't be used."""
        named = "; ".join(f"{r.file}:{r.row}: {r.reason}: {r.value!r}" for r in self.skipped[:NAMED_ROWS])
        if self.read and len(self.skipped) > max_bad_share * self.read:
            share = (
                f"{len(self.skipped)} of {self.read} rows can't be used, more than max_bad_share = {max_bad_share:g}"
            )
            raise DataError(f"{share}: {named}")
        if not self.kept:
            raise DataError(
                f"no usable row among {self.read}" + (f": {named}" if named else "; check source and max_rows")
            )

    def write_skipped(self, path: Path) -> None:
        """The skipped rows as JSON lines."""
        lines = [json.dumps(asdict(row)) for row in self.skipped]
        path.write_text("\n".join(lines) + "\n")

    def to_plain(self) -> dict[str, Any]:
        """For the cache."""
        rows = [list(astuple(row)) for row in self.skipped]
        return {"read": self.read, "kept": self.kept, "counts": dict(self.counts), "skipped": rows}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> DataReport:
        skipped = [SkippedRow(*row) for row in plain["skipped"]]
        return cls(plain["read"], plain["kept"], Counter(plain["counts"]), skipped)
