"""Checkpoints of a run of several ranks: rank 0 chooses them and makes them appear, and all write what is theirs.

All ranks see one file system. A checkpoint is made in a folder that bears the attempt's number, so that a rank which
was lost and still writes spoils nobody's; it appears when rank 0 renames that folder, after every rank's last word.
"""

from __future__ import annotations

import filecmp
import shutil
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from rlhf_sdk.checkpoints import FileEntry, read_state, seal, seal_file, write_checkpoint
from rlhf_sdk.files import make_private_directory
from rlhf_sdk.ranked.link import RankLink, RankPlace
from rlhf_sdk.shards.assembling import make_models_whole
from rlhf_sdk.shards.index import SHARDS, rank_name
from rlhf_sdk.worker_checkpoints import RNG, WorkerCheckpoints


class RankedCheckpoints(WorkerCheckpoints):
    """`save` and `find` are made by all ranks at the same safe point."""

    link: RankLink

    def __init__(self, *parts: Any, place: RankPlace) -> None:
        super().__init__(*parts)
        self._place = place

    def find(self) -> Path | None:
        found = super().find() if self._place.leads else None
        name = self.link.tell(found.name.encode() if found else b"").decode()
        if not name or self._place.leads:
            return found
        found = self._directory / name
        self.take_over(read_state(found))
        return found

    def due(self) -> bool:
        """By rank 0's clock."""
        return bool(self.link.meet(int(super().due()))[0])

    def rng_folder(self, checkpoint: Path) -> Path:
        """A rank whose random states were rank 0's has none of its own there."""
        own = checkpoint / RNG / rank_name(self._place.rank)
        return own if own.is_dir() else checkpoint / RNG

    def save(self, reason: str, *, finished: bool) -> None:
        with self.link.patience():
            if self._place.leads:
                super().save(reason, finished=finished)
            else:
                self._take_part(finished=finished)

    def write_files(self, *, finished: bool) -> Path:
        """Rank 0's part: the folder, what is the same on all ranks, the manifest, the name."""

        def fill(folder: Path) -> None:
            self.link.tell(folder.name.encode())
            self.fill(folder, finished=finished)
            self.link.meet(0)

        def seal_all(folder: Path) -> None:
            self.link.meet(0)
            removed = make_models_whole(folder) if finished else []
            sealed = _sealed_by_others(folder, self._place.size)
            seal(folder, {name: entry for name, entry in sealed.items() if name not in removed})

        writer = f".{self._journal.attempt}"
        return write_checkpoint(self._directory, self._run.step, fill, seal=seal_all, writer=writer)

    def _take_part(self, *, finished: bool) -> None:
        """The part of the others: their shards, and random states where they differ from rank 0's."""
        if not self._run.inside_step:
            self.begin_step()
        folder = self._directory / self.link.tell(b"").decode()
        self.save_shards(folder)
        with tempfile.TemporaryDirectory() as scratch:
            self._trainer.save(Path(scratch))
        self.link.meet(0)
        own = self._own_random_states(folder) + sorted((folder / SHARDS).rglob(f"{rank_name(self._place.rank)}.*"))
        _say_sealed(folder, self._place.rank, {path.relative_to(folder).as_posix(): seal_file(path) for path in own})
        self.link.meet(0)
        self._newest_step = self._run.step

    def _own_random_states(self, folder: Path) -> list[Path]:
        if self._trainer.runtime is None:
            return []
        with tempfile.TemporaryDirectory() as scratch:
            self._trainer.runtime.save_rng(Path(scratch))
            names = [path.name for path in Path(scratch).iterdir()]
            alike, _, _ = filecmp.cmpfiles(scratch, folder / RNG, names, shallow=False)
            if len(alike) == len(names):
                return []
            own = folder / RNG / rank_name(self._place.rank)
            make_private_directory(own)
            return [Path(shutil.copy(Path(scratch) / name, own)) for name in names]


def _said(folder: Path, rank: int) -> Path:
    return folder / f".{rank_name(rank)}.json"


def _say_sealed(folder: Path, rank: int, entries: dict[str, FileEntry]) -> None:
    _said(folder, rank).write_bytes(msgspec.json.encode(entries))


def _sealed_by_others(folder: Path, ranks: int) -> dict[str, FileEntry]:
    """What the other ranks have hashed; on a network file system a listing may not have their files yet."""
    sealed: dict[str, FileEntry] = {}
    for rank in range(1, ranks):
        said = _said(folder, rank)
        sealed |= msgspec.json.decode(said.read_bytes(), type=dict[str, FileEntry])
        said.unlink()
    return sealed
