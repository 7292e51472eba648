"""`rlhf plan`: what it is held against, what it prints, and what it says of mistakes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rlhf_console import gpus, plugins
from rlhf_console.gpus import GPUS, target_of
from rlhf_console.plan_text import by_role, plan_text, side_by_side, verdict, with_peak
from rlhf_sdk import devices
from rlhf_sdk.machine_samples import DeviceSample
from rlhf_sdk.trainer import UserError

GIB = 2**30
ROWS = [
    {"what": "framework", "phase": "always", "bytes": GIB},
    {"what": "weights: policy", "phase": "always", "bytes": 4 * GIB},
    {"what": "Adam moments: policy", "phase": "always", "bytes": 8 * GIB},
    {"what": "KV cache", "phase": "rollout", "bytes": 2 * GIB},
    {"what": "gradients: policy", "phase": "backward", "bytes": 4 * GIB},
    {"what": "activations: policy", "phase": "backward", "bytes": 3 * GIB},
    {"what": "recomputed block: policy", "phase": "backward", "bytes": GIB},
    {"what": "gradients: passing", "phase": "backward", "bytes": GIB // 2},
    {"what": "peak", "phase": "backward", "bytes": 21 * GIB + GIB // 2},
]


def test_a_size_is_what_the_card_is_sold_with_and_a_little_is_kept() -> None:
    target = target_of("80GB")
    assert 78 * GIB < target.device.memory < 80 * GIB
    assert target.device.bandwidth == GPUS["H100"].device.bandwidth
    assert target_of("22.5GiB").device.memory == 22.5 * GIB
    assert target_of("61GB").device.bandwidth is None


@pytest.mark.parametrize("name", ["A100-80GB", "a100 80gb", "NVIDIA A100-80GB"])
def test_a_gpu_is_known_however_it_is_spelled(name: str) -> None:
    assert target_of(name).name == "A100-80GB"


@pytest.mark.parametrize(
    ("asked", "told"),
    [("RTX4091", "Did you mean 'RTX4090'?"), ("80XB", "not a size"), ("0GB", "not a size"), ("8 apples", "not a size")],
)
def test_a_gpu_that_is_not_known_is_the_users_mistake(asked: str, told: str) -> None:
    with pytest.raises(UserError, match=told.replace("?", r"\?")):
        target_of(asked)


def test_the_gpu_here_is_found_by_the_drivers_name_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = DeviceSample(index=0, name="NVIDIA A100-SXM4-40GB", memory_used=0, memory_total=40 * GIB)
    monkeypatch.setattr(devices, "open_devices", lambda: ["handle"])
    monkeypatch.setattr(devices, "read_devices", lambda handles, pid: [sample])
    target = target_of("")
    assert (target.name, target.device.memory) == ("NVIDIA A100-SXM4-40GB", 40 * GIB)
    assert target.device.bandwidth == GPUS["A100-40GB"].device.bandwidth


def test_without_a_gpu_the_machines_memory_is_the_limit_and_rates_are_not_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(devices, "open_devices", list)
    monkeypatch.setattr(gpus, "memory_limit", lambda: 7 * GIB)
    assert (target_of("").device.memory, target_of("").device.bandwidth) == (7 * GIB, None)


def test_the_verdict_says_by_how_much() -> None:
    assert "fits, 2.50 GiB to spare." in verdict(ROWS, 24 * GIB)
    assert "DOES NOT FIT, 1.50 GiB too much" in verdict(ROWS, 20 * GIB)
    assert "Fragmentation may take that" in verdict(ROWS, 22 * GIB)


def test_roles_and_what_belongs_to_none() -> None:
    lines = {line.split("  ")[0]: line.split()[-6:] for line in by_role(ROWS).splitlines()}
    assert lines["policy"] == ["4.00", "8.00", "4.00", "4.00", "-", "20.00"]
    assert lines["gradients: passing"][-2:] == ["0.50", "0.50"]
    assert lines["in all"] == ["4.00", "8.00", "4.00", "4.00", "1.50", "21.50"]
    assert "KV cache" not in lines


def test_plans_side_by_side_have_a_line_for_each_phase_of_any() -> None:
    other = with_peak([row for row in ROWS[:-1] if row["phase"] != "rollout"])
    lines = {line.split()[0]: line.split()[1:] for line in side_by_side({"one": ROWS, "two": other}).splitlines()}
    assert lines["rollout"] == ["15.00", "-"]
    assert lines["backward"] == lines["peak"] == ["21.50", "21.50"]


def test_a_peak_that_a_plugin_left_out_is_added() -> None:
    assert with_peak(ROWS[:-1])[-1] == ROWS[-1]
    assert with_peak(ROWS) == ROWS


def test_what_a_plugin_writes_is_printable() -> None:
    rows = [*ROWS[:-1], {"what": "\x1b[31mred", "phase": "backward", "bytes": 1}]
    assert "\x1b" not in plan_text("ppo", {"rows": with_peak(rows)}, target_of("80GB"))


@pytest.fixture(scope="module")
def planned() -> tuple[str, dict[str, Any]]:
    """The issue's own command as text and as JSON."""
    command = [sys.executable, "-m", "rlhf_console", "plan", "ppo", "--profile", "tldr-llama-1b", "--gpu", "80GB"]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "COLUMNS": "80"}
    text, data = (
        subprocess.run([*command, *more], capture_output=True, text=True, env=environment, check=True, timeout=120)
        for more in ([], ["--json"])
    )
    return text.stdout, json.loads(data.stdout)


def test_one_stage_of_a_profile_is_planned_with_the_models_of_the_others(planned: tuple[str, dict[str, Any]]) -> None:
    """Llama-3.2-1B has 1,235,814,400 weights (its model card: 1.23 B)."""
    text, data = planned
    weights = {row["what"]: row["bytes"] for row in data["rows"] if row["what"].startswith("weights")}
    assert weights["weights: policy"] == 4 * 1_235_814_400
    assert data["fits"] and data["spare"] == data["device"]["memory"] - data["peak"]["bytes"] > 0
    assert "fits," in text and "Floors of time" in text
    assert data["floors"][0]["steps"] == 116722 // 128


def test_the_plan_fits_eighty_columns(planned: tuple[str, dict[str, Any]]) -> None:
    assert max(map(len, planned[0].splitlines())) <= 80


def test_a_batch_that_can_not_be_dealt_is_the_users_mistake() -> None:
    with pytest.raises(UserError, match=r"^batch_size: 16 rows can't be dealt evenly to 3 ranks"):
        plugins.plan("sft", {"batch_size": 16, "model": {"path": "EleutherAI/pythia-70m"}}, ranks=3)


def test_models_of_unknown_size_are_said(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rlhf_console", "plan", "sft", "--set", "sft.model.path=nobody/nothing"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 2
    assert "the sizes of 'nobody/nothing' are not known here" in done.stderr
