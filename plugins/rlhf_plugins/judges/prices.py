"""What tokens of a Claude model cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from rlhf_engine.config import JudgeConfig
from rlhf_engine.errors import ConfigError

PRICES_OF = "Anthropic's pricing page, November 2026"
KNOWN: dict[str, tuple[float, float]] = {
    "claude-opus-4-5": (5.0, 25.0),
    "claude-opus-4-6": (5.0, 25.0),
    "claude-opus-4-7": (5.0, 25.0),
    "claude-opus-4-8": (5.0, 25.0),
    "claude-opus-5": (5.0, 25.0),
    "claude-sonnet-4-5": (3.0, 15.0),
    "claude-sonnet-4-6": (3.0, 15.0),
    "claude-haiku-4-5": (1.0, 5.0),
    "claude-fable-5": (10.0, 50.0),
    "claude-fable-5-1": (10.0, 50.0),
}
"""USD for a million tokens of input and of output, by model without its date."""
CACHE_WRITE, CACHE_READ, BATCH = 1.25, 0.1, 0.5
"""Shares of the price."""
CHARACTERS_PER_TOKEN = 4
ANSWER_TOKENS = 60
"""For estimates: a verdict and its reason."""
DATE_DIGITS = 8


class Usage(msgspec.Struct, frozen=True):
    """Tokens of one reply, as the service counts them."""

    input_tokens: int
    output_tokens: int
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None


@dataclass(frozen=True)
class Prices:
    """USD for a million tokens."""

    input: float
    output: float

    def usd(self, usage: Usage, *, batch: bool) -> float:
        written = (usage.cache_creation_input_tokens or 0) * CACHE_WRITE
        read = (usage.cache_read_input_tokens or 0) * CACHE_READ
        million = (usage.input_tokens + written + read) * self.input + usage.output_tokens * self.output
        return million / 1e6 * (BATCH if batch else 1.0)

    def estimate(self, texts: Sequence[str], *, batch: bool) -> float:
        """Of a question for each text: input tokens by characters, `ANSWER_TOKENS` of output."""
        tokens = sum(len(text) for text in texts) // CHARACTERS_PER_TOKEN
        return self.usd(Usage(tokens, ANSWER_TOKENS * len(texts)), batch=batch)

    def at_most(self, text: str, output_tokens: int, *, batch: bool) -> float:
        """Of one question: a token for every two bytes, written to the cache, and the longest answer."""
        return self.usd(Usage(0, output_tokens, len(text.encode()) // 2), batch=batch)


def prices_of(config: JudgeConfig) -> Prices:
    """Raises `ConfigError` for a model whose prices are neither known nor given."""
    model = _without_date(config.model)
    known = KNOWN.get(model, (0.0, 0.0))
    prices = Prices(config.input_usd_per_mtok or known[0], config.output_usd_per_mtok or known[1])
    if not prices.input or not prices.output:
        raise ConfigError(
            f"judge.model = {config.model!r}: its prices are not known here ({PRICES_OF}: {', '.join(KNOWN)}); "
            "set judge.input_usd_per_mtok and judge.output_usd_per_mtok"
        )
    return prices


def _without_date(model: str) -> str:
    name, _, end = model.rpartition("-")
    return name if len(end) == DATE_DIGITS and end.isdigit() else model
