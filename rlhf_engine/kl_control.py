"""The KL coefficient over a run: fixed, or steered to a target."""

from __future__ import annotations

from typing import Protocol

from rlhf_engine.config import OnlineConfig
from rlhf_engine.errors import ConfigError

LARGEST_ERROR = 0.2


class KLController(Protocol):
    """`coef` weighs the KL of the coming update."""

    coef: float

    def update(self, kl_nats: float) -> None:
        """Takes note of the KL of the update just done, in nats per sequence."""


class FixedKL:
    """A coefficient that never changes (Huang et al. 2024)."""

    def __init__(self, coef: float) -> None:
        self.coef = coef

    def update(self, kl_nats: float) -> None:
        return None


class AdaptiveKL:
    """A coefficient that rises while KL is above its target and falls while it is below."""

    def __init__(self, coef: float, *, target_nats: float, gain: float) -> None:
        self.coef, self.target_nats, self.gain = coef, target_nats, gain

    def update(self, kl_nats: float) -> None:
        self.coef = adapted_kl_coef(self.coef, kl_nats, target_nats=self.target_nats, gain=self.gain)


def adapted_kl_coef(coef: float, kl_nats: float, *, target_nats: float, gain: float) -> float:
    """coef (1 + gain e), e = KL / target - 1 clipped to +-0.2; KL and target in nats per sequence.

    Ziegler et al. 2019, section 2.2.
    """
    error = min(max(kl_nats / target_nats - 1.0, -LARGEST_ERROR), LARGEST_ERROR)
    return coef * (1.0 + gain * error)


def kl_controller(config: OnlineConfig) -> KLController:
    """The one that `config.kl_control` names, at its start. Raises ConfigError for an adaptive one that starts at 0."""
    if config.kl_control == "fixed":
        return FixedKL(config.kl_coef)
    if config.kl_coef == 0:
        raise ConfigError('kl_coef: 0 stays 0 under kl_control = "adaptive"; start above 0')
    return AdaptiveKL(config.kl_coef, target_nats=config.kl_target_nats_per_sequence, gain=config.kl_gain_per_update)
