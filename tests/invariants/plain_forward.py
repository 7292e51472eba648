"""Rows one at a time through plain transformers: no padding, no company, none of the engine's slicing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from rlhf_engine.rollout import Rollout


def texts_of(rows: Rollout) -> Iterator[tuple[Tensor, int]]:
    """Each row's valid tokens [1, T], and how many of them are the response's."""
    for tokens, mask, length in zip(rows.tokens, rows.mask, rows.response_lengths.tolist(), strict=True):
        yield tokens[mask][None], length


def one_by_one_logits(policy: Any, rows: Rollout, temperature: float) -> list[Tensor]:
    """Of the states before each response token, [T, V] a row."""
    return [policy(input_ids=text).logits[0, -length - 1 : -1] / temperature for text, length in texts_of(rows)]


def one_by_one_logprobs(policy: Any, rows: Rollout, temperature: float) -> list[Tensor]:
    """Of each row's response tokens, [T] a row."""
    logits = one_by_one_logits(policy, rows, temperature)
    return [
        of_row.log_softmax(-1).gather(1, text[0, -length:, None]).squeeze(1)
        for of_row, (text, length) in zip(logits, texts_of(rows), strict=True)
    ]


def one_by_one_values(scalar: Any, rows: Rollout) -> list[Tensor]:
    """Raw outputs of a sequence classifier's head at the states before each response token, [T] a row."""
    network = scalar.network
    return [
        network.score(network.base_model(input_ids=text).last_hidden_state[0, -length - 1 : -1]).squeeze(-1)
        for text, length in texts_of(rows)
    ]
