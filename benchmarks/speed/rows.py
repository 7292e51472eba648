"""The rows of a task as tokens, in the order in which our trainers see them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.speed.task import COMPARISONS, DEMONSTRATIONS, Task
from rlhf_engine.order import shuffled_batch

STEPS = 64


@dataclass(frozen=True)
class Row:
    """Token ids; a demonstration has one response, a comparison the chosen and the rejected one, each with EOS."""

    prompt: list[int]
    responses: list[list[int]]


def demonstrations(task: Task, tokenizer: Any) -> list[Row]:
    return list(_rows(task, tokenizer, DEMONSTRATIONS, ("summary",)))


def comparisons(task: Task, tokenizer: Any) -> list[Row]:
    return list(_rows(task, tokenizer, COMPARISONS, ("chosen", "rejected")))


def in_our_order(rows: list[Row], task: Task) -> list[Row]:
    """The rows of the first steps, one batch after another."""
    return [rows[i] for step in range(STEPS) for i in shuffled_batch(len(rows), task.rows, step, seed=0)]


def _rows(task: Task, tokenizer: Any, file: str, responses: tuple[str, ...]) -> Iterator[Row]:
    for line in Path(task.path(file)).read_text().splitlines():
        record = json.loads(line)
        tokens = tokenizer([record[name] for name in ("prompt", *responses)], add_special_tokens=False)["input_ids"]
        yield Row(tokens[0], [[*response, tokenizer.eos_token_id] for response in tokens[1:]])
