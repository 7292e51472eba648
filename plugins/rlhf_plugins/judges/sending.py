"""By which of the two APIs questions go."""

from __future__ import annotations

from rlhf_engine.config import JudgeConfig

BATCHES_ABOVE = 100
"""Questions, where `judge.api` is auto."""


def by_batches(config: JudgeConfig, questions: int) -> bool:
    return config.api == "batches" or (config.api == "auto" and questions > BATCHES_ABOVE)
