"""Best-of-n: of n responses the one with the highest score. No training; n times the sampling."""

from __future__ import annotations

import math


def kl_bound_nats(n: int) -> float:
    """Upper bound of KL(best-of-n, policy) in nats per sequence: ln n - (n - 1) / n.

    Equality where scores have no ties and no response has much probability (Hilton 2023; Beirami et al. 2024).
    """
    return math.log(n) - (n - 1) / n
