"""One probe's figures, prompt by prompt."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean, stdev


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What the policy wrote after `step` updates, to N prompts; every list is [N], in the order of the prompts.

    `proxy` is the score that training maximises, `second` the second opinion on it (empty: there is none);
    `kl_nats` is log pi - log pi_ref of the whole response, `entropy_nats` the mean over its tokens.
    `beyond_range`: 1 where the score lies outside what the reward model gave to held-out comparisons (empty: unknown).
    """

    step: int
    texts: list[str]
    ended: list[float]
    tokens: list[float]
    proxy: list[float]
    second: list[float]
    kl_nats: list[float]
    entropy_nats: list[float]
    title_copying: list[float]
    coverage: list[float]
    density: list[float]
    repetition: list[float]
    shared_phrase: list[float]
    beyond_range: list[float]

    @property
    def kl_standard_error(self) -> float:
        """Of the mean of `kl_nats`."""
        return stdev(self.kl_nats) / math.sqrt(len(self.kl_nats))

    def metrics(self) -> dict[str, float]:
        """Means by the names of events and charts; units are in the names."""
        lists = {
            "probe/proxy_mean": self.proxy,
            "probe/second_mean": self.second,
            "probe/kl_sequence_nats": self.kl_nats,
            "probe/entropy_nats": self.entropy_nats,
            "probe/tokens_mean": self.tokens,
            "probe/eos_share": self.ended,
            "probe/title_copying": self.title_copying,
            "probe/coverage": self.coverage,
            "probe/density_words": self.density,
            "probe/repetition": self.repetition,
            "probe/shared_phrase": self.shared_phrase,
            "probe/beyond_range_share": self.beyond_range,
        }
        found = {name: fmean(values) for name, values in lists.items() if values}
        return found | {"probe/kl_sequence_nats_standard_error": self.kl_standard_error}

    def sample_metrics(self, row: int, second_name: str) -> dict[str, float]:
        """One response's figures under the names that samples have; `second_name` says whose the second opinion is."""
        found = {
            "score": self.proxy[row],
            "kl/sequence_nats": self.kl_nats[row],
            "response_tokens": self.tokens[row],
            "entropy_nats": self.entropy_nats[row],
        }
        return found | ({second_name: self.second[row]} if self.second else {})
