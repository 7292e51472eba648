"""The samples of a run: the newest at once, all of them, by places in the file, when somebody looks."""

from __future__ import annotations

from pathlib import Path

from rlhf_console.runs.lines import Lines
from rlhf_console.runs.sample_scans import Columns, Head, Scan, TextScan
from rlhf_console.runs.title_copy import title_copy
from rlhf_sdk.events import Sample, decode_sample

KEPT = 256


class SamplesFile:
    """Samples by row, as `Lines` counts them. Only the newest are looked for until `browse` is called."""

    def __init__(self, path: Path) -> None:
        self.lines = Lines(path)
        self.is_browsed = False
        self._begin()

    def _begin(self) -> None:
        self._opened = self.lines.opened
        self.columns = Columns()
        self.title_copies: TextScan | None = None
        self.found: TextScan | None = None
        self.words = ""
        self._kept: dict[int, Sample | None] = {}

    def browse(self) -> None:
        """From now on all samples are wanted."""
        self.is_browsed = True

    def read(self) -> bool:
        """Reads a piece of the file, at most about 1 MiB; True if there may be more."""
        more = self.lines.read(older=self.is_browsed)
        if self._opened != self.lines.opened:
            self._begin()
        if more or not self.is_browsed:
            return more
        return any(scan.advance(self.lines) for scan in self._scans)

    @property
    def rows(self) -> range:
        return range(self.lines.first, self.lines.end)

    def read_all(self) -> None:
        """Everything up to now."""
        self.browse()
        while self.read():
            pass

    @property
    def is_read(self) -> bool:
        """Whether everything that is wanted has been looked at."""
        return all((scan.first, scan.end) == (self.lines.first, self.lines.end) for scan in self._scans)

    @property
    def share(self) -> float:
        """How much of that has been looked at, 0 to 1."""
        rows = max(len(self.rows), 1)
        return self.lines.share * min((scan.end - scan.first) / rows for scan in self._scans)

    @property
    def _scans(self) -> list[Scan]:
        return [self.columns, *(scan for scan in (self.title_copies, self.found) if scan is not None)]

    @property
    def newest(self) -> Sample | None:
        """The last sample that isn't damaged, of the last few lines."""
        newest = reversed(self.rows[-KEPT:])
        return next((sample for row in newest if (sample := self.sample(row)) is not None), None)

    def sample(self, row: int) -> Sample | None:
        """None for a damaged line, and where the file is gone. Those asked for last are kept."""
        if row not in self._kept:
            if len(self._kept) >= KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[row] = self._decoded(row)
        return self._kept[row]

    def _decoded(self, row: int) -> Sample | None:
        try:
            return decode_sample(self.lines.texts(range(row, row + 1))[0])
        except (OSError, ValueError, RecursionError):
            return None

    def measure_title_copies(self) -> None:
        """Begins to work out how much of the title each response repeats; see `title_copies`."""
        if self.title_copies is None:
            self.title_copies = TextScan(lambda head: title_copy(head.prompt, head.response))

    def search(self, words: str) -> None:
        """Begins to look for the samples that have all of `words` in prompt or response; see `found`."""
        if words == self.words:
            return
        self.words, wanted = words, words.casefold().split()
        self.found = TextScan(lambda head: _has_all(head, wanted)) if wanted else None


def _has_all(head: Head, words: list[str]) -> bool:
    text = f"{head.prompt}\n{head.response}".casefold()
    return all(word in text for word in words)
