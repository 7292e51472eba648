"""Random weights that end a response with a given probability after each token."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from transformers import PreTrainedModel

COMMON = 0.2
"""Size of what all embeddings have in common; tens of times that of what they differ by would hide the words."""
PROBES = 256
LARGEST = 1e4
"""Of EOS's logit; where embeddings are tied, the other logits have the shared direction in them too."""
STEPS = 60


def hazard(mean: float, longest: int) -> float:
    """The probability of an end after each token with which responses of at most `longest` tokens have this mean."""
    low, high = 1e-9, 1.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        expected = (1 - (1 - middle) ** longest) / middle
        low, high = (middle, high) if expected > mean else (low, middle)
    return (low + high) / 2


@torch.no_grad()
def end_responses(policy: PreTrainedModel, eos_id: int, probability: float) -> None:
    """Gives EOS this mean probability at any state, in place: its head row reads what all embeddings share."""
    embeddings, head = policy.get_input_embeddings().weight, policy.get_output_embeddings().weight
    direction = torch.ones(embeddings.shape[1])
    direction[1::2] = -1.0
    embeddings += COMMON * direction
    head[eos_id] = 0.0
    states, others = _states_and_normalisers(policy, len(embeddings))
    along = states @ direction / direction.numel()
    low, high = -LARGEST, LARGEST
    for _ in range(STEPS):
        middle = (low + high) / 2
        found = float(torch.sigmoid(middle * along - others).mean())
        low, high = (middle, high) if found < probability else (low, middle)
    head[eos_id] = direction / direction.numel() * (low + high) / 2


def _states_and_normalisers(policy: PreTrainedModel, vocabulary: int) -> tuple[Tensor, Tensor]:
    """States of random words, [N, H], and the log of the sum of their exponentiated logits but for EOS's, [N]."""
    tokens = torch.randint(3, vocabulary, (4, PROBES // 4), generator=torch.Generator().manual_seed(1))
    output = policy(tokens, output_hidden_states=True)
    others = output.logits.float().logsumexp(dim=-1) + math.log1p(-1 / vocabulary)
    return output.hidden_states[-1].flatten(0, 1), others.flatten()
