"""Checkpoints are whole or absent; damage is found; good ones are kept."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlhf_sdk.checkpoints import (
    MANIFEST,
    SMALL_BYTES,
    Manifest,
    WorkerState,
    checkpoint_name,
    checkpoint_step,
    clean_leftovers,
    damage,
    latest_good,
    list_checkpoints,
    read_state,
    remove_checkpoint,
    write_checkpoint,
)
from rlhf_sdk.trainer import UserError


def fill(folder: Path) -> None:
    (folder / "model").mkdir()
    (folder / "model" / "weights").write_bytes(b"abc")
    (folder / "state.json").write_bytes(b"{}")


def test_the_manifest_names_every_file_with_known_hashes(tmp_path: Path) -> None:
    saved = write_checkpoint(tmp_path, 12, fill)
    assert saved == tmp_path / "step-00000012"
    manifest = msgspec.json.decode((saved / MANIFEST).read_bytes(), type=Manifest)
    assert set(manifest.files) == {"model/weights", "state.json"}
    # SHA-256 of "abc": FIPS 180-2, appendix B.1.
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert (manifest.files["model/weights"].size, manifest.files["model/weights"].sha256) == (3, known)
    assert stat.S_IMODE((saved / "model" / "weights").stat().st_mode) == 0o600
    assert damage(saved) is None


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def flip_a_bit(file: Path) -> None:
    file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:])


@pytest.mark.parametrize("name", ["model/weights", "state.json", MANIFEST])
@pytest.mark.parametrize("harm", [truncate, flip_a_bit, Path.unlink])
def test_damage_is_named_and_the_one_before_is_used(tmp_path: Path, name: str, harm: Callable[[Path], None]) -> None:
    good, bad = write_checkpoint(tmp_path, 1, fill), write_checkpoint(tmp_path, 2, fill)
    harm(bad / name)
    found, problems = latest_good(tmp_path)
    assert found == good and list(problems) == [bad.name] and name in problems[bad.name]


@pytest.mark.parametrize("name", ["model/more.safetensors", "notes.txt"])
def test_a_file_that_was_not_written_with_it_is_named(tmp_path: Path, name: str) -> None:
    good, bad = write_checkpoint(tmp_path, 1, fill), write_checkpoint(tmp_path, 2, fill)
    (bad / name).touch()
    assert latest_good(tmp_path) == (good, {bad.name: f"{name} is no part of it"})


def test_the_state_of_a_newer_version_is_refused_and_that_of_an_older_one_read(tmp_path: Path) -> None:
    (tmp_path / "worker.json").write_text('{"step": 3, "seq": 9, "sample_seq": 2, "attempt": 1}')
    assert read_state(tmp_path) == WorkerState(step=3, seq=9, sample_seq=2, attempt=1)
    (tmp_path / "worker.json").write_text('{"schema": 2, "step": "three"}')
    with pytest.raises(UserError, match=r"has schema 2; this version reads up to 1: upgrade rlhf-console"):
        read_state(tmp_path)


def test_a_quick_look_reads_small_files_and_sizes(tmp_path: Path) -> None:
    def large(folder: Path) -> None:
        fill(folder)
        (folder / "large").write_bytes(bytes(SMALL_BYTES + 1))

    saved = write_checkpoint(tmp_path, 1, large)
    flip_a_bit(saved / "large")
    assert damage(saved, contents=False) is None and damage(saved) == "large has other contents than were written"
    truncate(saved / "large")
    assert damage(saved, contents=False) == f"large has {SMALL_BYTES} bytes instead of {SMALL_BYTES + 1}"
    write_checkpoint(tmp_path, 2, fill)
    flip_a_bit(tmp_path / "step-00000002" / "state.json")
    assert damage(tmp_path / "step-00000002", contents=False) == "state.json has other contents than were written"


def test_an_interrupted_write_leaves_nothing(tmp_path: Path) -> None:
    def interrupted(folder: Path) -> None:
        fill(folder)
        raise KeyboardInterrupt

    write_checkpoint(tmp_path, 1, fill)
    with pytest.raises(KeyboardInterrupt):
        write_checkpoint(tmp_path, 1, interrupted)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    assert damage(tmp_path / "step-00000001") is None


def test_one_of_the_same_step_is_replaced(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, 1, fill)
    write_checkpoint(tmp_path, 1, lambda folder: (folder / "other").touch())
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    assert (tmp_path / "step-00000001" / "other").exists() and damage(tmp_path / "step-00000001") is None


def test_a_replacement_cut_off_between_its_renames_is_undone(tmp_path: Path) -> None:
    saved = write_checkpoint(tmp_path, 1, fill)
    saved.rename(tmp_path / ".old-step-00000001")
    (tmp_path / ".tmp-step-00000001").mkdir()
    clean_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"] and damage(saved) is None


def test_a_removal_that_was_cut_off_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(folder: Path, **_: object) -> None:
        if folder.exists():
            (folder / "state.json").unlink()
            raise KeyboardInterrupt

    saved = write_checkpoint(tmp_path, 1, fill)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("rlhf_sdk.checkpoints.shutil.rmtree", interrupted)
        remove_checkpoint(saved)
    assert list_checkpoints(tmp_path) == [] and list(tmp_path.iterdir()) != []
    clean_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == []


@given(st.integers(0, 10**12))
def test_names_and_steps_are_inverse(step: int) -> None:
    assert checkpoint_step(checkpoint_name(step)) == step


def test_they_are_listed_by_step_and_strangers_are_left_out(tmp_path: Path) -> None:
    for name in ("step-100000000", "step-00000009", ".tmp-step-00000011", "step-1", "notes"):
        (tmp_path / name).mkdir()
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step-00000009", "step-100000000"]
    assert list_checkpoints(tmp_path / "absent") == [] and latest_good(tmp_path / "absent") == (None, {})
