"""What the trainers read: prompts, demonstrations and comparison groups, already as tokens."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt of at most `max_prompt_tokens`, without padding; `record` is the row that it came from."""

    id: str
    text: str
    tokens: list[int]
    reference: str | None = None
    record: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A prompt and the response to learn; `response_tokens` ends with EOS unless it was cut."""

    prompt: Prompt
    response: str
    response_tokens: list[int]

    @property
    def token_count(self) -> int:
        """Of prompt and response."""
        return len(self.prompt.tokens) + len(self.response_tokens)


@dataclass(frozen=True, slots=True)
class ComparisonGroup:
    """K responses to one prompt and what people preferred: each pair is (index of chosen, index of rejected)."""

    prompt: Prompt
    responses: list[str]
    response_tokens: list[list[int]]
    pairs: list[tuple[int, int]]

    @property
    def token_count(self) -> int:
        """Of the prompt, once, and all responses."""
        return len(self.prompt.tokens) + sum(map(len, self.response_tokens))
