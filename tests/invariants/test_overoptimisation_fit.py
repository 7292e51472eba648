"""61: the fits of Gao et al. recover what made a curve, and gold falls behind the proxy where the proxy is flawed."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from enumerable import exact_kl, expected_reward, optimal_logprobs
from rlhf_engine.eval.gold_fit import Method, fit_gold
from rlhf_engine.eval.overoptimisation import overoptimisation

PENALTIES = [15.0 / step for step in range(1, 41)]
"""Falling weights of the KL penalty."""
KL = np.linspace(0.05, 40.0, 60)
CURVES: list[tuple[Method, float, float]] = [("rl", 0.9, 0.35), ("rl", 2.0, 0.8), ("best_of_n", 1.1, 0.15)]


def curve(method: Method, alpha: float, beta: float) -> np.ndarray:
    """The published formulas, [N] at `KL`."""
    d = np.sqrt(KL)
    return d * (alpha - beta * (np.log(d) if method == "rl" else d))


@pytest.mark.parametrize(("method", "alpha", "beta"), CURVES)
def test_61_fits_recover_the_coefficients_of_a_noisy_curve(method: Method, alpha: float, beta: float) -> None:
    exact = curve(method, alpha, beta)
    noise = np.random.default_rng(0).normal(0.0, 0.005 * np.abs(exact).max(), len(KL))
    fit = fit_gold(KL.tolist(), (exact + noise).tolist(), method)
    assert (fit.alpha, fit.beta) == pytest.approx((alpha, beta), rel=0.02)


@pytest.mark.parametrize(("method", "alpha", "beta"), CURVES)
def test_61_the_peak_is_where_a_fine_grid_has_it(method: Method, alpha: float, beta: float) -> None:
    fit = fit_gold(KL.tolist(), curve(method, alpha, beta).tolist(), method)
    grid = np.linspace(0.01, 20.0, 20_000)
    best = grid[np.argmax([fit.gain(d) for d in grid])]
    assert fit.peak_distance == pytest.approx(best, rel=0.02)


def test_61_without_a_fall_there_is_no_peak() -> None:
    assert fit_gold([1.0, 4.0, 9.0], [1.0, 4.0, 9.0], "best_of_n").peak_distance is None
    with pytest.raises(ValueError, match="two different distances"):
        fit_gold([0.0, 2.0, 2.0], [0.0, 1.0, 1.0], "rl")


def flawed_environment() -> tuple[Tensor, Tensor, Tensor]:
    """log pi_ref, proxy and gold [N] of 400 responses: the proxy follows gold, but praises 20 bad ones most."""
    generator = torch.Generator().manual_seed(0)
    gold = torch.randn(400, generator=generator, dtype=torch.float64)
    proxy = gold.clone()
    proxy[:20], gold[:20] = 6.0, -3.0
    ref = torch.full((400,), -math.log(400), dtype=torch.float64)
    ref[:20] -= 4.0
    return ref.log_softmax(dim=0), proxy, gold


def test_61_gold_falls_while_the_proxy_rises_beyond_the_peak_of_a_planted_flaw() -> None:
    """Along the exact optima pi_ref exp(proxy / beta) of a falling KL penalty, no sampling and no training."""
    ref, proxy, gold = flawed_environment()
    optima = [optimal_logprobs(ref, proxy, beta) for beta in PENALTIES]
    proxies, golds = ([float(expected_reward(pi, r)) for pi in optima] for r in (proxy, gold))
    found = overoptimisation(range(len(optima)), proxies, golds, [float(exact_kl(pi, ref)) for pi in optima])
    assert found.peak is not None
    assert 0 < found.peak < len(found.updates) - 1
    after = range(found.peak, len(found.updates) - 1)
    assert all(found.proxy[i + 1] > found.proxy[i] for i in range(len(found.updates) - 1))
    assert all(found.gold[i + 1] < found.gold[i] for i in after)
    assert all(found.kl_nats[i + 1] > found.kl_nats[i] for i in after)


def test_61_without_the_flaw_gold_rises_to_the_end() -> None:
    ref, _, gold = flawed_environment()
    golds = [float(expected_reward(optimal_logprobs(ref, gold, beta), gold)) for beta in PENALTIES]
    assert all(later > earlier for earlier, later in pairwise(golds))
