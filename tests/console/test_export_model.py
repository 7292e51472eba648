"""`rlhf export --to model`: any checkpoint's model as a folder, also where it lies in pieces, without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner, Result

from rlhf_console.cli.main import app
from rlhf_sdk.checkpoints import write_checkpoint
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_record import RunRecord, encode_record
from rlhf_sdk.shards.index import FileOfPieces, Piece, ShardIndex, StoredTensor, write_index
from rlhf_sdk.trainer import UserError

PATH = "model/model.safetensors"
WEIGHT = np.arange(12, dtype=np.float32).reshape(4, 3)


def in_pieces(folder: Path) -> None:
    pieces = [Piece(0, 0, 3), Piece(1, 3, 1)]
    for piece in pieces:
        file = FileOfPieces(PATH, piece.rank).below(folder)
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file({"w": WEIGHT[piece.start : piece.start + piece.rows]}, file)
    write_index(folder, ShardIndex({PATH: {"w": StoredTensor("F32", (4, 3), tuple(pieces))}}))
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text("{}")


def whole(folder: Path) -> None:
    (folder / "model").mkdir()
    save_file({"w": 2 * WEIGHT}, folder / PATH)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """With a model in pieces at step 1, a whole one at step 2, and none at step 3."""
    run = RunDir(tmp_path / "runs" / "trained")
    run.commands.mkdir(parents=True)
    run.record_file.write_bytes(encode_record(RunRecord(id="trained", plugin="sft", config={}, created=0.0)))
    for step, fill in enumerate((in_pieces, whole, lambda folder: (folder / "x").touch()), start=1):
        write_checkpoint(run.checkpoints, step, fill)
    return run


def export(run: RunDir, *arguments: object) -> Result:
    given = ("export", run.id, "--runs", run.root, "--out", run.root.parent / "out", *arguments)
    return CliRunner().invoke(app, [str(argument) for argument in given])


def refused(run: RunDir, *arguments: object) -> str:
    error = export(run, *arguments).exception
    assert isinstance(error, UserError)
    return str(error)


@pytest.mark.parametrize(("step", "factor"), [(1, 1), (2, 2)])
def test_any_checkpoint_becomes_a_plain_folder(run: RunDir, step: int, factor: int) -> None:
    done = export(run, "--to", "model", "--at", f"step-0000000{step}", "--json")
    assert done.exit_code == 0, done.output
    (folder,) = (Path(file) for file in json.loads(done.stdout)["files"])
    assert folder == run.root.parent / "out" / f"trained.step-0000000{step}"
    assert np.array_equal(load_file(folder / "model.safetensors")["w"], factor * WEIGHT)
    assert not [path for path in folder.parent.iterdir() if path.name.startswith(".")]


def test_what_cannot_be_exported_is_said_and_nothing_is_left(run: RunDir) -> None:
    assert "step-00000003 has no model/" in refused(run, "--to", "model")
    assert "--at names a checkpoint" in refused(run, "--to", "csv", "--at", "step-00000001")
    assert "did you mean" in refused(run, "--to", "model", "--at", "step-0000001").lower()
    assert export(run, "--to", "model", "--at", "step-00000001").exit_code == 0
    assert "is there already" in refused(run, "--to", "model", "--at", "step-00000001")
    FileOfPieces(PATH, 1).below(run.checkpoints / "step-00000001").write_bytes(b"changed")
    assert "is damaged" in refused(run, "--to", "model", "--at", "step-00000001")
    assert [path.name for path in (run.root.parent / "out").iterdir()] == ["trained.step-00000001"]


def test_it_takes_no_torch(run: RunDir, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from rlhf_sdk.run_dir import RunDir\n"
        "from rlhf_console.exchange.exporting import export_model\n"
        "print(export_model(RunDir(Path(sys.argv[1])), 'step-00000001', Path(sys.argv[2])))\n"
        "assert not {'torch', 'numpy', 'safetensors'} & sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", program, run.path, tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
