"""`rlhf plan --nproc`: what one rank needs and sends, and every layout beside every other."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rlhf_console.plan_ranks_text import layout_lines, traffic_lines
from rlhf_engine.ranked_plan.traffic import Sent
from rlhf_plugins.plan_ranks import seconds_of, step_seconds
from rlhf_sdk.planning import PlanDevice, PlanRanks

GIB = 2**30


def layout(sharding: str, peak: float, sent: float, *, name: str = "", same: bool = True) -> dict[str, Any]:
    settings = [f"ppo.sharding.model={sharding}"]
    return {
        "sharding": sharding, "layout": name, "settings": settings, "peak": round(peak * GIB), "phase": "backward",
        "sent": round(sent * GIB), "seconds": None, "same_algorithm": same,
    }  # fmt: skip


FOUND = [
    layout("ddp", 90, 10), layout("zero-1", 79, 15), layout("zero-2", 40, 30),
    layout("ddp", 20, 1, name="adapters", same=False),
]  # fmt: skip


def test_of_what_fits_and_trains_the_same_the_one_that_sends_least_is_named() -> None:
    text = "\n".join(layout_lines(FOUND, 80 * GIB))
    assert "90.0!" in text and "79.0!" not in text
    assert "zero-1 sends least:\n    --set ppo.sharding.model=zero-1" in text
    assert "None of them fits that trains the same" in "\n".join(layout_lines(FOUND, 30 * GIB))


def test_traffic_is_added_up_and_seconds_are_left_out_where_no_rate_is_known() -> None:
    phases = [
        {"phase": "forward", "what": "weights", "bytes": 2 * GIB, "seconds": 0.5},
        {"phase": "optimizer", "what": "gradients", "bytes": GIB, "seconds": 0.25},
    ]
    assert (
        traffic_lines([{"stage": "ppo", "phases": phases}])[-1] == "ppo: a rank sends 3.00 GiB a step, 0.75 s at least."
    )
    phases[0]["seconds"] = None
    assert traffic_lines([{"stage": "ppo", "phases": phases}])[-1] == "ppo: a rank sends 3.00 GiB a step."


def test_a_ring_goes_at_the_rate_of_its_narrowest_link() -> None:
    device, sent = PlanDevice(memory=0, link=100.0), Sent("forward", "weights", 1000)
    assert seconds_of(sent, device, PlanRanks(processes=8, network=10.0)) == 10.0
    assert seconds_of(sent, device, PlanRanks(processes=8, machines=2, network=10.0)) == 100.0
    assert seconds_of(sent, device, PlanRanks(processes=8, machines=2, network=1000.0)) == 10.0
    assert seconds_of(sent, PlanDevice(memory=0), PlanRanks(processes=8)) is None


def test_a_phase_takes_the_longer_of_computing_and_sending_and_a_step_waits_for_its_sums() -> None:
    floors = {"forward": 3.0, "backward": 1.0, "optimizer": 1.0}
    sent = [
        (Sent("forward", "weights", 1), 2.0),
        (Sent("backward", "gradients", 1), 5.0),
        (Sent("optimizer", "gradients", 1), 0.5),
    ]
    assert step_seconds(floors, sent) == 3.0 + 5.0 + 1.5
    assert step_seconds({}, sent) is None


@pytest.fixture(scope="module")
def planned() -> list[str]:
    command = [
        sys.executable, "-m", "rlhf_console", "plan", "ppo", "--profile", "tldr-pythia-1b", "--gpu", "H100",
        "--nproc", "8", "--nnodes", "2", "--set", "ppo.sharding.model=zero-3",
    ]  # fmt: skip
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "COLUMNS": "80"}
    return [
        subprocess.run([*command, *more], capture_output=True, text=True, env=environment, check=True).stdout
        for more in ([], ["--json"])
    ]


def test_one_rank_of_a_profile_is_planned_with_its_traffic_and_all_layouts(planned: list[str]) -> None:
    text, data = planned[0], json.loads(planned[1])
    weights = {row["what"]: row["bytes"] for row in data["rows"] if row["what"].startswith("weights: ")}
    assert weights["weights: policy"] * 16 == 4 * 1_011_781_632
    assert {(one["sharding"], one["layout"]) for one in data["layouts"]} >= {
        ("ddp", "separate"), ("zero-3/host", "separate"), ("zero-2", "adapters"), ("zero-1", "shared_trunk"),
    }  # fmt: skip
    assert "one of 16 ranks" in text and "sends least" in text
    assert max(map(len, text.splitlines())) <= 80


def test_rows_that_cannot_be_dealt_are_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rlhf_console", "plan", "sft", "--nproc", "3", "--set", "sft.model.path=gpt2"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2 and "128 rows can't be dealt evenly to 3 ranks" in done.stderr
