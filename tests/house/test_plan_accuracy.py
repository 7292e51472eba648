"""A few updates against their plans, in bytes; all combinations: `python -m benchmarks plan-accuracy`."""

import pytest

from benchmarks.plan_accuracy import cases, compare
from benchmarks.plan_cases import Case

TRIED = [
    "SFT, LoRA on few, gpt2, small, fp32",
    "RM, 3 MLP heads, llama, small, bf16",
    "DPO, gpt_neox, small, fp32, checkpointing",
    "RLOO, gpt2, small, bf16",
    "PPO separate, probe, llama, small, fp32",
    "PPO adapters, gpt_neox, small, bf16, checkpointing",
]
CASES = {case.name: case for case in cases(sizes=["small"])}


@pytest.mark.parametrize("case", [CASES[name] for name in TRIED], ids=lambda case: case.name)
def test_the_planned_peak_is_within_a_tenth_of_what_is_allocated(case: Case) -> None:
    found = compare(case)
    assert abs(found.error) <= 0.1
    assert found.planned == pytest.approx(found.counted, rel=0.1)
    assert {"forward", "backward", "optimizer"} <= found.phases.keys()
    for phase, (planned, measured) in found.phases.items():
        assert planned == pytest.approx(measured, rel=0.15), phase
