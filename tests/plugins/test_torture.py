"""`make torture` in short: every trainer survives, and what is planted is found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).parents[2]
SHARE = 0.05
IN_ANOTHER_PROCESS = ("sft", "ppo", "dpo")
ENDS = {"stop", "release", "terminate", "requeue", "checkpoint", "pause"}

ECHO = """
import sys
from pathlib import Path
from typing import Any
from benchmarks.torture.moments import Blow
from benchmarks.torture.trial import Trial

{plant}
config = {{"steps": 4, "seed": 3, "checkpoint_every": 1}}
trial = Trial(Path(sys.argv[1]), "echo", config, say=lambda text: None)
moments = [at for at, place in enumerate(trial.places, start=1) if place == {place!r}]
for at in moments[len(moments) // 2], moments[-1]:
    if {how!r} == "full":
        trial.starve(f"at-{{at}}", Blow("full", at))
    else:
        trial.strike(f"at-{{at}}", [(Blow({how!r}, at),)])
for mismatch in trial.found.mismatches:
    print(mismatch)
"""


def run_python(arguments: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    command, variables = [sys.executable, *arguments], os.environ | environment
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False, env=variables)


def tortured(folder: Path, share: float, *plugins: str, hash_seed: str) -> dict[str, Any]:
    """What the command found, and that it found nothing wrong; each process orders its sets by another seed."""
    options = ["--share", str(share), "--folder", str(folder / "runs"), "--json", str(folder / "found.json")]
    done = run_python(["-m", "benchmarks.torture", *plugins, *options, "--quiet"], PYTHONHASHSEED=hash_seed)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads((folder / "found.json").read_text())["plugins"]
    return found


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_trainer_survives(tmp_path: Path) -> None:
    found = tortured(tmp_path, SHARE, hash_seed="1")
    assert {name: figures["mismatches"] for name, figures in found.items() if figures["mismatches"]} == {}
    assert found["ppo"]["points"] >= 10 and all(figures["points"] >= 2 for figures in found.values())
    hows = {how for figures in found.values() for how in figures["how"]}
    assert {"kill", "torn", "full", "full_once"} < hows and len(hows & ENDS) >= 3
    places = {place.partition(":")[0] for place in found["ppo"]["places"]}
    assert {"checkpoint", "outside phases"} < places and any(place.startswith("rollout") for place in places)
    (tmp_path / "other").mkdir()
    other = tortured(tmp_path / "other", 0.0, *IN_ANOTHER_PROCESS, hash_seed="2")
    assert {name: other[name]["straight"] for name in other} == {name: found[name]["straight"] for name in other}


PLANTS = {
    "a sum that is not restored": (
        "import rlhf_plugins.echo as e; e.EchoTrainer.load = lambda self, folder: None",
        "checkpoint: rename",
        "kill",
        "checkpoint: ['step-",
    ),
    "half-written lines left": (
        "import rlhf_sdk.journal as j; j.end_of_lines = lambda descriptor: j.os.fstat(descriptor).st_size",
        "outside phases: write events.jsonl",
        "torn",
        "events are not numbered 1, 2, ...",
    ),
    "events numbered from the beginning": (
        "import rlhf_sdk.journal as j; j._newest = lambda path: j._Numbered(attempt=1)",
        "echo: begin",
        "kill",
        "events are not numbered 1, 2, ...",
    ),
    "leftovers left": (
        "import rlhf_sdk.worker_checkpoints as w; w.clean_leftovers = lambda folder: None",
        "checkpoint: remove",
        "kill",
        "left in checkpoints: ",
    ),
    "no reserve for the last words": (
        "import rlhf_sdk.worker as w; w.make_reserve = lambda run: None",
        "outside phases: write events.jsonl",
        "full",
        "a full disk, but the last word is",
    ),
}


def mismatches(plant: str, place: str, how: str, folder: Path) -> str:
    done = run_python(["-c", ECHO.format(plant=plant, place=place, how=how), str(folder)])
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("plant", "place", "how", "words"), PLANTS.values(), ids=PLANTS)
def test_what_is_planted_is_found_and_nothing_else(
    plant: str, place: str, how: str, words: str, tmp_path: Path
) -> None:
    assert words in mismatches(plant, place, how, tmp_path / "planted")
    assert mismatches("", place, how, tmp_path / "sound") == ""
