"""`rlhf samples`: the probe's prompts first, one prompt from step to step, else the newest."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "tui"))
from recorded import append, write_record
from rlhf_console.cli.main import app
from rlhf_sdk.events import Sample, encode_line


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A probe of three prompts at steps 0 and 4, training samples at steps 0 to 4, and a run without a probe."""
    for run in ("probed", "plain"):
        directory = write_record(tmp_path, run)
        for step in range(5):
            write_samples(directory, "rollout", step, range(10 * step, 10 * step + 2))
            if run == "probed" and step % 4 == 0:
                write_samples(directory, "probe", step, range(3))
    return tmp_path


def write_samples(directory: Path, tag: str, step: int, prompts: range) -> None:
    for index in prompts:
        sample = Sample(tag=tag, step=step, index=index, prompt=f"{tag} {index}", response=f"after {step}")
        append(directory, "samples.jsonl", encode_line(sample))


def rlhf(runs: Path, *arguments: str) -> str:
    said = CliRunner().invoke(app, ["samples", "--runs", str(runs), *arguments])
    assert said.exit_code == 0, said.exception
    return said.stdout


def places(runs: Path, *arguments: str) -> list[tuple[str, int]]:
    found: list[dict[str, Any]] = json.loads(rlhf(runs, *arguments, "--json"))
    return [(sample["prompt"], sample["step"]) for sample in found]


def test_the_probes_newest_answers_come_first_and_are_the_same_prompts_at_every_step(runs: Path) -> None:
    assert places(runs, "probed", "-n", "2") == [("probe 0", 4), ("probe 1", 4)]
    assert places(runs, "probed", "-n", "2", "--step", "0") == [("probe 0", 0), ("probe 1", 0)]


def test_a_step_without_a_probe_and_a_tag_that_is_asked_for_show_other_samples(runs: Path) -> None:
    assert places(runs, "probed", "--step", "3") == [("rollout 30", 3), ("rollout 31", 3)]
    assert places(runs, "probed", "--tag", "rollout", "-n", "1") == [("rollout 41", 4)]


def test_one_prompt_is_followed_and_named_once(runs: Path) -> None:
    assert places(runs, "probed", "--prompt", "2") == [("probe 2", 0), ("probe 2", 4)]
    text = rlhf(runs, "probed", "--prompt", "2")
    assert text.count("probe 2") == 1 and text.index("after 0") < text.index("after 4")


def test_a_run_without_a_probe_shows_its_newest_samples(runs: Path) -> None:
    assert places(runs, "plain", "-n", "3") == [("rollout 31", 3), ("rollout 40", 4), ("rollout 41", 4)]
