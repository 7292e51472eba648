"""What packing and oneDNN each give: forward and backward of a policy's trunk on 8 rows, in turns, on one thread."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from unittest.mock import patch

import torch
from torch import Tensor
from transformers.utils import logging

from benchmarks.record import record
from benchmarks.speed.task import SHAPES, Shape
from benchmarks.tiny_models import CPU, tokenizer
from rlhf_engine.config import ModelConfig
from rlhf_engine.models import load_policy
from rlhf_engine.rollout import Rollout
from rlhf_engine.trunk import padded_states, states_at

ROWS, ROUNDS = 8, 2
LENGTHS = {"equal lengths": False, "TL;DR's lengths": True}


def rollout_of(shape: Shape, *, unequal: bool) -> Rollout:
    """Prompts of 128 and responses of 48 tokens, or the first of TL;DR's prompts and responses of 15 to 53."""
    generator = torch.Generator().manual_seed(0)
    prompts = shape.of_tldr_lengths().prompts[:ROWS] if unequal else [shape.prompt] * ROWS
    responses = [15 + (11 * row) % 39 for row in range(ROWS)] if unequal else [shape.response] * ROWS

    def words(length: int) -> list[int]:
        return torch.randint(3, shape.vocabulary, (length,), generator=generator).tolist()

    texts = [[words(length) for length in lengths] for lengths in (prompts, responses)]
    return Rollout.of_texts(*texts, eos_id=0, pad_id=1, device=CPU)


def seconds_of(shape: Shape, *, unequal: bool) -> dict[str, float]:
    """Median CPU seconds by contender; the first turn of each does not count."""
    model = load_policy(ModelConfig(init=shape.init), tokenizer(shape.vocabulary), CPU)
    rollout = rollout_of(shape, unequal=unequal)

    def padded() -> Tensor:
        states = padded_states(model.base_model, rollout.token_rows)
        return states.flatten(0, 1)[rollout.acting_places]

    def packed() -> Tensor:
        return states_at(model, rollout.token_rows, rollout.acting_places)

    def packed_by_mkl() -> Tensor:
        with patch("rlhf_engine.linear.by_onednn", lambda *_: False):
            return packed()

    contenders: dict[str, Callable[[], Tensor]] = {
        "transformers' padded forward": padded,
        "packed": packed_by_mkl,
        "packed, by oneDNN": packed,
    }
    turns: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(1 + ROUNDS):
        for name, forward in contenders.items():
            model.zero_grad()
            begin = time.process_time()
            forward().sum().backward()
            turns[name].append(time.process_time() - begin)
    return {name: round(statistics.median(taken[1:]), 3) for name, taken in turns.items()}


def main() -> None:
    logging.set_verbosity_error()
    torch.set_num_threads(1)
    found = {}
    for shape in SHAPES["tiny"], SHAPES["70m"]:
        for lengths, unequal in LENGTHS.items():
            found[f"{shape.name}, {lengths}"] = seconds_of(shape, unequal=unequal)
            print(f"{shape.name}, {lengths}: {found[f'{shape.name}, {lengths}']}", flush=True)
    record("update-parts", {"cpu_seconds": found})
