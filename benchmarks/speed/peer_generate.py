"""transformers' own sampling, as a user calls it."""

from __future__ import annotations

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from benchmarks.speed.rows import demonstrations
from benchmarks.speed.task import POLICY, Task
from benchmarks.speed.turns import Turns


def generation(task: Task, turns: Turns) -> None:
    """`generate` on `rows` prompts of one length; no token ends a response."""
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
        eos_token_id=None,
    )
    turns.ready()
    while True:
        turns.begin()
        with torch.no_grad():
            sampled = model.generate(inputs, attention_mask=torch.ones_like(inputs), generation_config=sampling)
        turns.end(tokens=sampled.numel() - inputs.numel())
