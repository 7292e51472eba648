"""Nothing in a run directory is unpickled, whoever put it there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
SCRIPT = """
import json, os, pickle, shutil, sys
from pathlib import Path

folder, opened = Path(sys.argv[1]), []
sys.addaudithook(lambda event, about: opened.append(about[:2]) if event == "pickle.find_class" else None)

from benchmarks.torture.material import Material, build_models
from rlhf_sdk.checkpoints import list_checkpoints, write_checkpoint
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_record import RunRecord, encode_record
from rlhf_sdk.worker import Worker

NAMES = ("pytorch_model.bin", "adapter_model.bin", "optimizer.pt", "rng_state.pth", "training_args.bin", "data.pkl")

class Bomb:
    def __reduce__(self):
        return os.mkdir, (str(folder / "exploded"),)

def plant(below):
    for name in NAMES:
        (below / name).write_bytes(pickle.dumps(Bomb()))

def ended(plugin, name, config):
    run = RunDir(folder / name)
    run.commands.mkdir(parents=True, exist_ok=True)
    record = RunRecord(id=name, plugin=plugin, config=config, seed=3, created=0.0)
    run.record_file.write_bytes(encode_record(record))
    return run, Worker(run, attempt=1 + run.events_file.exists(), since=0.0).main()

build_models(folder / "models")
material = Material(folder / "models")
sft = material.config("sft") | {"max_steps": 1}
run, first = ended("sft", "sft", sft)
newest = list_checkpoints(run.checkpoints)[-1]

def with_plants(aside):
    shutil.copytree(newest, aside, dirs_exist_ok=True)
    (aside / "MANIFEST.json").unlink()
    for below in (aside, aside / "model", aside / "rng"):
        plant(below)

write_checkpoint(run.checkpoints, 1, with_plants)
for below in (run.path, run.checkpoints):
    plant(below)
_, again = ended("sft", "sft", sft)
resumed_from = [event.resumed_from for event in run.events() if hasattr(event, "resumed_from")]
_, follower = ended("rm", "rm", material.config("rm") | {"model": {"path": str(newest / "model")}, "max_steps": 1})

for weights in (newest / "model").glob("*.safetensors"):
    weights.unlink()
_, without = ended("rm", "rm2", material.config("rm") | {"model": {"path": str(newest / "model")}, "max_steps": 1})
print(json.dumps({
    "codes": [first, again, follower, without],
    "resumed_from": resumed_from,
    "opened": opened,
    "exploded": (folder / "exploded").exists(),
}))
"""


@pytest.mark.slow
def test_planted_pickles_are_never_opened(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, str(tmp_path)], cwd=CHECKOUT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["codes"] == [0, 0, 0, 2] and found["resumed_from"] == [None, "step-00000001"], done.stderr
    assert found["opened"] == [] and not found["exploded"]
