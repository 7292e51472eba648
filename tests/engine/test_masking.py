import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from rlhf_engine.masking import (
    masked_mean,
    masked_var,
    whiten,
    whiten_keeping_mean,
)

VALUES = torch.tensor([[1.0, 2.0, math.nan], [6.0, math.inf, math.nan]])
MASK = torch.tensor([[True, True, False], [True, False, False]])


def test_moments_are_those_of_the_valid_values_whatever_the_padding_holds() -> None:
    assert float(masked_mean(VALUES, MASK)) == 3.0
    assert math.isclose(float(masked_var(VALUES, MASK)), 14 / 3, rel_tol=1e-6)


def test_empty_mask_and_one_value_are_defined() -> None:
    nothing = torch.zeros_like(MASK)
    assert float(masked_mean(VALUES, nothing)) == 0.0
    assert float(masked_var(VALUES, nothing)) == 0.0
    assert torch.equal(whiten(VALUES, nothing), torch.zeros(2, 3))
    one = torch.tensor([[True, False, False], [False, False, False]])
    assert torch.equal(whiten(VALUES, one), torch.zeros(2, 3))


@given(st.lists(st.floats(-100, 100, width=32), min_size=3, max_size=20), st.integers(1, 4))
def test_whitened_values_have_mean_0_and_variance_1_and_ignore_padding(values: list[float], pad: int) -> None:
    packed = torch.tensor(values)
    if packed.double().std(correction=0) < 1e-1:
        return
    padded = torch.cat([packed, torch.full((pad,), math.nan)])[None]
    mask = torch.tensor([[True] * len(values) + [False] * pad])
    valid = whiten(padded, mask)[mask].double()
    assert abs(float(valid.mean())) < 1e-4
    assert abs(float(valid.var(correction=0)) - 1) < 1e-3
    kept = whiten_keeping_mean(padded, mask)
    assert torch.allclose(kept[mask].mean(), packed.mean(), atol=1e-3)
    assert torch.equal(kept[~mask], torch.zeros(pad))
