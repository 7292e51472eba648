"""Forward and backward of a policy's trunk on demonstrations, its states read before each token of the response."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from transformers import AutoTokenizer

from benchmarks.speed.rows import demonstrations
from benchmarks.speed.task import POLICY, Task
from benchmarks.speed.turns import Turns
from rlhf_engine import trunk
from rlhf_engine.config import ModelConfig
from rlhf_engine.models import compute_precision, load_policy
from rlhf_engine.rollout import Rollout
from rlhf_engine.rollout_states import states_before_actions

States = Callable[[Any, Rollout], Tensor]


def padded(task: Task, turns: Turns) -> None:
    """transformers' forward of all rows; `settings`: its attention, and whether torch compiles it."""
    model = _model(task)
    backbone: Any = torch.compile(model.base_model) if task.settings.get("compiled") else model.base_model

    def states(_model: Any, rollout: Rollout) -> Tensor:
        found = trunk.padded_states(backbone, rollout.token_rows)
        return rollout.acting_states(found)[rollout.response_mask]

    _take_turns(model, states, task, turns)


def packed(task: Task, turns: Turns) -> None:
    """Ours; `settings`: whether torch compiles what a block does before and after its attention."""
    if not task.settings.get("compiled"):
        _take_turns(_model(task), states_before_actions, task, turns)
        return
    model = _model(task)
    family: Any = trunk.family_of(model.base_model)
    projected, finished = torch.compile(family.projected), torch.compile(family.finished)
    with patch.object(family, "projected", projected), patch.object(family, "finished", finished):
        _take_turns(model, states_before_actions, task, turns)


def _model(task: Task) -> Any:
    config = ModelConfig(path=task.path(POLICY), attention=task.settings.get("attention", "sdpa"))
    return load_policy(config, AutoTokenizer.from_pretrained(task.path(POLICY)), torch.device(task.device))


def _take_turns(model: Any, states: States, task: Task, turns: Turns) -> None:
    tokenizer = AutoTokenizer.from_pretrained(task.path(POLICY))
    rows = demonstrations(task, tokenizer)[: task.rows]
    texts = ([row.prompt for row in rows], [row.responses[0] for row in rows])
    ids = {"eos_id": tokenizer.eos_token_id, "pad_id": tokenizer.pad_token_id}
    rollout = Rollout.of_texts(*texts, **ids, device=torch.device(task.device))
    turns.ready()
    while True:
        turns.begin()
        with compute_precision(torch.device(task.device), task.precision):
            loss = states(model, rollout).float().square().mean()
        loss.backward()
        turns.end(states=float(loss.detach()))
        model.zero_grad(set_to_none=True)
