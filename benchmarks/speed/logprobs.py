"""Log-probabilities of responses from hidden states: the policy's with gradient, the reference's without."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from benchmarks.speed.rows import demonstrations
from benchmarks.speed.task import POLICY, Task
from benchmarks.speed.turns import Turns
from rlhf_engine.logprobs import logprobs_of_states
from rlhf_engine.rollout import Rollout

LogProbs = Callable[[nn.Module, Tensor, Rollout], Tensor]


def own(task: Task, turns: Turns) -> None:
    """At the states before response tokens, in chunks."""

    def logprobs(model: nn.Module, hidden: Tensor, rollout: Rollout) -> Tensor:
        states = rollout.acting_states(hidden)[rollout.response_mask]
        return logprobs_of_states(model, states, rollout, temperature=1.0)

    _take_turns(logprobs, task, turns)


def full_logits(task: Task, turns: Turns) -> None:
    """TRL's PPO: logits of all places, then those of the response alone."""
    from trl.trainer.utils import selective_log_softmax

    def logprobs(model: nn.Module, hidden: Tensor, rollout: Rollout) -> Tensor:
        head = model.get_output_embeddings()  # type: ignore[operator]
        logits = head(hidden)[:, rollout.prompt_tokens.shape[1] - 1 : -1]
        logits /= 1.0 + 1e-7
        found: Tensor = selective_log_softmax(logits, rollout.response_tokens)
        return found

    _take_turns(logprobs, task, turns)


def _take_turns(logprobs: LogProbs, task: Task, turns: Turns) -> None:
    policy, reference = (
        _resident(AutoModelForCausalLM.from_pretrained(task.path(POLICY), dtype=torch.float32).to(task.device))
        for _ in range(2)
    )
    tokenizer = AutoTokenizer.from_pretrained(task.path(POLICY))
    rollout = _rollout(task, tokenizer)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(*rollout.tokens.shape, task.shape.init.hidden_size, generator=generator).to(task.device)
    turns.ready()
    while True:
        turns.begin()
        states = hidden.detach().requires_grad_(True)
        found = logprobs(policy, states, rollout)
        with torch.no_grad():
            difference = found - logprobs(reference, hidden, rollout)
        found.mean().backward()
        turns.end(loss=float(found.mean()), difference=float(difference.abs().max()))
        policy.zero_grad(set_to_none=True)


def _resident(model: nn.Module) -> nn.Module:
    """With weights in memory of their own: the pages of a mapped file would come in a turn, and be counted as its."""
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()
    return model


def _rollout(task: Task, tokenizer: PreTrainedTokenizerBase) -> Rollout:
    rows = demonstrations(task, tokenizer)[: task.rows]
    return Rollout.of_texts(
        [row.prompt for row in rows],
        [row.responses[0] for row in rows],
        eos_id=tokenizer.eos_token_id,
        pad_id=tokenizer.pad_token_id,
        device=torch.device(task.device),
    )
