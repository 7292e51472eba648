"""A rank is killed anywhere in a checkpoint that all write together: it appears complete, or not at all."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import rlhf_sdk.checkpoints as whole_checkpoints
import rlhf_sdk.ranked.checkpoints as ranked_checkpoints
from rlhf_sdk.checkpoints import clean_leftovers, damage, latest_good, read_state
from rlhf_sdk.pace import Pace
from rlhf_sdk.ranked.checkpoints import RankedCheckpoints
from rlhf_sdk.ranked.link import RankPlace
from rlhf_sdk.shards.index import FileOfPieces, Piece, ShardIndex, StoredTensor, rank_name, write_index
from rlhf_sdk.shards.tensor_files import TensorKind, write_tensors
from rlhf_sdk.worker import NO_OPTIONS

MODEL, MOMENTS = "model/model.safetensors", "model.optimizer.safetensors"
ROWS = 3


class Link:
    """Two ranks over a pair of sockets; the end of one is an error for the other, as with gloo."""

    def __init__(self, end: socket.socket, leads: bool) -> None:
        self.end, self.leads = end, leads

    def patience(self) -> Any:
        return nullcontext()

    def meet(self, said: int) -> list[int]:
        self.end.sendall(said.to_bytes(8, "little"))
        heard = int.from_bytes(self._receive(8), "little")
        return [said, heard] if self.leads else [heard, said]

    def tell(self, message: bytes) -> bytes:
        if self.leads:
            self.end.sendall(len(message).to_bytes(8, "little") + message)
            return message
        return self._receive(int.from_bytes(self._receive(8), "little"))

    def _receive(self, count: int) -> bytes:
        data = self.end.recv(count, socket.MSG_WAITALL)
        if len(data) < count:
            raise RuntimeError("Connection closed by peer")
        return data


class Dealt:
    """A trainer with a model and moments of two times three rows, and random states that differ by rank."""

    def __init__(self, rank: int, link: Link) -> None:
        self.rank, self.link, self.step = rank, link, 0
        self.runtime = self

    def save_shards(self, directory: Path) -> None:
        for path in (MODEL, MOMENTS):
            file = FileOfPieces(path, self.rank).below(directory)
            file.parent.mkdir(parents=True, exist_ok=True)
            content = bytes([self.step, self.rank]) * (2 * ROWS)
            write_tensors(file, {"w": TensorKind("F32", (ROWS,))}, lambda name: [content])  # noqa: B023
        self.link.meet(0)
        if self.rank == 0:
            stored = {"w": StoredTensor("F32", (2 * ROWS,), (Piece(0, 0, ROWS), Piece(1, ROWS, ROWS)))}
            write_index(directory, ShardIndex({MODEL: stored, MOMENTS: stored}))

    def save(self, directory: Path) -> None:
        (directory / "trainer.json").write_text(f"{self.step}")

    def remember_rng(self) -> None: ...

    def save_rng(self, directory: Path) -> None:
        (directory / "state").write_text(f"{self.rank if self.step > 1 else 0}")

    def environment(self) -> dict[str, str]:
        return {"ranks": "2"}


def checkpoints_of(folder: Path, rank: int, end: socket.socket) -> tuple[RankedCheckpoints, Callable[..., None]]:
    """What the worker of one rank has of them; and what writes one of a step."""
    link = Link(end, rank == 0)
    trainer = Dealt(rank, link)
    journal = SimpleNamespace(seq=0, sample_seq=0, step=0, attempt=1, sync=lambda: None)
    run = SimpleNamespace(
        step=0, inside_step=False, config=SimpleNamespace(), live_values={}, phase=lambda name: nullcontext(),
        emit=lambda event: None, control=None,
    )  # fmt: skip
    parts: Any = (folder, journal, run, trainer, Pace(NO_OPTIONS))
    found = RankedCheckpoints(*parts, place=RankPlace(rank=rank, size=2))
    found.link = link  # type: ignore[assignment]

    def at(step: int, *, finished: bool) -> None:
        trainer.step = run.step = journal.step = step
        found.save("test", finished=finished)

    return found, at


def killed_before(owner: Any, name: str) -> None:
    """This process ends where it would call that function."""
    setattr(owner, name, lambda *arguments, **named: os.kill(os.getpid(), signal.SIGKILL))


def killed_after(owner: Any, name: str) -> None:
    real: Callable[..., Any] = getattr(owner, name)

    def once(*arguments: Any, **named: Any) -> Any:
        real(*arguments, **named)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, once)


def killed_between_two_renames() -> None:
    real, seen = Path.rename, list[int]()

    def rename(path: Path, target: Path) -> Path:
        if seen:
            os.kill(os.getpid(), signal.SIGKILL)
        seen.append(1)
        return real(path, target)

    Path.rename = rename  # type: ignore[method-assign,assignment]


R, W = ranked_checkpoints, whole_checkpoints
POINTS: dict[str, tuple[int, Callable[[], None], bool]] = {
    "follower before its shards": (1, lambda: killed_before(Dealt, "save_shards"), False),
    "follower after its shards": (1, lambda: killed_after(Dealt, "save_shards"), False),
    "follower in its random states": (1, lambda: killed_after(Dealt, "save_rng"), False),
    "follower before it hashes": (1, lambda: killed_before(R, "seal_file"), False),
    "follower before it has said so": (1, lambda: killed_before(R, "_say_sealed"), False),
    "leader before its shards": (0, lambda: killed_before(Dealt, "save_shards"), False),
    "leader before the rest of its files": (0, lambda: killed_before(Dealt, "save"), False),
    "leader before it hears the others": (0, lambda: killed_before(R, "_sealed_by_others"), False),
    "leader before it makes models whole": (0, lambda: killed_before(R, "make_models_whole"), False),
    "leader after it made models whole": (0, lambda: killed_after(R, "make_models_whole"), False),
    "leader before the manifest": (0, lambda: killed_before(R, "seal"), False),
    "leader after the manifest": (0, lambda: killed_after(R, "seal"), False),
    "leader before the rename": (0, lambda: killed_before(W, "_put_in_place"), False),
    "leader after the rename": (0, lambda: killed_after(W, "_put_in_place"), True),
}


@contextmanager
def two_ranks(folder: Path) -> Iterator[list[int]]:
    """Forks them; left in the parent when both are gone."""
    ends = socket.socketpair()
    processes = []
    for rank in (0, 1):
        process = os.fork()
        if process == 0:
            ends[1 - rank].close()
            with suppress(BaseException):
                _save_twice(checkpoints_of(folder, rank, ends[rank])[1], rank)
            os._exit(0)
        processes.append(process)
    for end in ends:
        end.close()
    yield processes
    for process in processes:
        with suppress(ChildProcessError):
            os.waitpid(process, 0)


KILL: list[tuple[int, Callable[[], None], int, bool]] = []


def _save_twice(at: Callable[..., None], rank: int) -> None:
    at(1, finished=False)
    (doomed, kill, step, finished) = KILL[-1]
    if rank == doomed:
        kill()
    at(step, finished=finished)


def after(folder: Path, rank: int, kill: Callable[[], None], *, step: int, finished: bool) -> Path:
    """The newest good checkpoint, once both ranks are gone and what they left is cleaned."""
    KILL.append((rank, kill, step, finished))
    with two_ranks(folder):
        pass
    clean_leftovers(folder)
    found, problems = latest_good(folder)
    assert found is not None and not problems
    assert all(path.name.startswith("step-") for path in folder.iterdir())
    return found


def content(checkpoint: Path) -> int:
    """Which step's content it has; it has all of it."""
    step = int((checkpoint / "trainer.json").read_text())
    for rank in (0, 1):
        data = FileOfPieces(MOMENTS, rank).below(checkpoint).read_bytes()
        assert data.endswith(bytes([step, rank]) * (2 * ROWS))
    return step


@pytest.mark.parametrize("finished", [False, True], ids=["between", "at the end"])
@pytest.mark.parametrize("point", POINTS)
def test_a_checkpoint_is_complete_or_not_there(tmp_path: Path, point: str, finished: bool) -> None:
    rank, kill, there = POINTS[point]
    if "whole" in point and not finished:
        pytest.skip("models are made whole at the end only")
    found = after(tmp_path / "checkpoints", rank, kill, step=2, finished=finished)
    assert content(found) == (2 if there else 1)
    assert read_state(found).finished is (there and finished)
    assert (found / MODEL).exists() is (there and finished)


@pytest.mark.parametrize("point", ["leader before the rename", "follower after its shards", "leader after the rename"])
def test_one_that_takes_the_place_of_another_does_so_wholly(tmp_path: Path, point: str) -> None:
    rank, kill, there = POINTS[point]
    found = after(tmp_path / "checkpoints", rank, kill, step=1, finished=there)
    assert content(found) == 1 and read_state(found).finished is there


def test_between_the_two_renames_of_a_replacement_the_old_one_comes_back(tmp_path: Path) -> None:
    found = after(tmp_path / "checkpoints", 0, killed_between_two_renames, step=1, finished=True)
    assert content(found) == 1 and read_state(found).finished is False


def test_without_a_kill_each_rank_has_its_random_states_where_they_differ(tmp_path: Path) -> None:
    found = after(tmp_path / "checkpoints", 0, lambda: None, step=2, finished=False)
    assert content(found) == 2
    assert (found / "rng" / "state").read_text() == "0"
    assert (found / "rng" / rank_name(1) / "state").read_text() == "1"
    for rank, own in ((0, found / "rng"), (1, found / "rng" / rank_name(1))):
        assert checkpoints_of(found.parent, rank, socket.socket())[0].rng_folder(found) == own
    earlier = found.with_name("step-00000001")
    assert damage(earlier) is None and [path.name for path in (earlier / "rng").iterdir()] == ["state"]
