"""transformers' own sampling, as a user calls it."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from benchmarks.speed.rows import demonstrations
from benchmarks.speed.task import POLICY, Task
from benchmarks.speed.turns import Turns


def generation(task: Task, turns: Turns) -> None:
    """`generate` on `rows` prompts of one length; no token ends a response, unless the shape has responses that end."""
    tokenizer = AutoTokenizer.from_pretrained(task.path(POLICY))
    model = AutoModelForCausalLM.from_pretrained(task.path(POLICY), dtype=getattr(torch, task.precision))
    model.to(task.device).eval()
    prompts = [row.prompt for row in demonstrations(task, tokenizer)[: task.rows]]
    inputs = torch.tensor(prompts, device=task.device)
    sampling = GenerationConfig(
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        max_new_tokens=task.shape.response,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id if task.shape.mean_response else None,
    )
    turns.ready()
    while True:
        turns.begin()
        with torch.no_grad():
            sampled = model.generate(inputs, attention_mask=torch.ones_like(inputs), generation_config=sampling)
        responses = sampled[:, inputs.shape[1] :]
        turns.end(tokens=_until_end(responses, sampling.eos_token_id))


def _until_end(responses: Tensor, eos_id: int | None) -> int:
    """Tokens up to each row's first end token, that one included; None: all."""
    if eos_id is None:
        return responses.numel()
    ended = (responses == eos_id).cumsum(dim=1)
    return int(((ended == 0) | ((ended == 1) & (responses == eos_id))).sum())
