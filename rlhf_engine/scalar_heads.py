"""Heads that read scalars off hidden states: linear or MLP, one or an ensemble of n on one backbone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING, AutoModelForSequenceClassification


@dataclass(frozen=True)
class HeadShape:
    """What kind of head, what it reads, and how many of them; kept in a checkpoint's `config.json`.

    pooling: the state at the response's last token, or the mean over the response's states.
    """

    kind: Literal["linear", "mlp"] = "linear"
    pooling: Literal["last", "mean"] = "last"
    count: int = 1

    @classmethod
    def of(cls, hf_config: Any) -> HeadShape:
        """The shape that a checkpoint's config names; one linear head at the last token where it names none."""
        return cls(
            getattr(hf_config, "score_head", "linear"),
            getattr(hf_config, "score_pooling", "last"),
            getattr(hf_config, "score_heads", 1),
        )

    def write_to(self, hf_config: Any) -> None:
        """Names this shape in `hf_config`; plain transformers reads `num_labels` alone."""
        hf_config.score_head, hf_config.score_pooling = self.kind, self.pooling
        hf_config.score_heads = hf_config.num_labels = self.count

    @property
    def is_plain(self) -> bool:
        """Whether plain transformers computes the same raw scores, one label for each head."""
        return self.kind == "linear" and self.pooling == "last"

    def __str__(self) -> str:
        return f"{self.count} {self.kind} head{'s' * (self.count > 1)} on the {self.pooling} state"


class LinearHeads(nn.Module):
    """raw [..., n] = weight · state. A third dimension of size 1 makes plain transformers refuse to load the weight:
    it would read it at the last token, where these heads read the mean.
    """

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(count, 1, width))

    def forward(self, states: Tensor) -> Tensor:
        return F.linear(states, self.weight.squeeze(1))


class MLPHeads(nn.Module):
    """raw [..., n]: for each head one hidden layer as wide as the states, GELU, and a linear output."""

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(count, width, width))
        self.bias = nn.Parameter(torch.empty(count, width))
        self.output = nn.Parameter(torch.empty(count, width))

    def forward(self, states: Tensor) -> Tensor:
        hidden = F.gelu(torch.einsum("...h,nmh->...nm", states, self.weight) + self.bias)
        return (hidden * self.output).sum(dim=-1)


def network_class(shape: HeadShape, hf_config: Any) -> Any:
    """What `from_pretrained` and `from_config` build: transformers' own class, or one with our heads in its `score`."""
    if shape.is_plain:
        return AutoModelForSequenceClassification
    plain: Any = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[type(hf_config)]
    heads = MLPHeads if shape.kind == "mlp" else LinearHeads

    class NetworkWithHeads(plain):  # type: ignore[misc]
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.score = heads(shape.count, config.hidden_size)

        @classmethod
        def from_config(cls, config: Any, **settings: Any) -> Any:
            return cls._from_config(config, **settings)

    NetworkWithHeads.__name__ = f"{plain.__name__}With{heads.__name__}"
    return NetworkWithHeads


@torch.no_grad()
def init_heads(score: nn.Module, head_init: Literal["normal", "zero"]) -> None:
    """Fills new heads in place: N(0, 1/sqrt(d + 1)) for d inputs (Stiennon et al. 2020), or raw scores of 0.

    Of an MLP the zero is in the output alone: a hidden layer of zeros would never learn.
    """
    for name, parameter in score.named_parameters():
        is_output = name == "output" or not isinstance(score, MLPHeads)
        if name == "bias" or (is_output and head_init == "zero"):
            parameter.zero_()
        else:
            parameter.normal_(0.0, 1.0 / math.sqrt(parameter.shape[-1] + 1))


def ensemble_scores(head_scores: Tensor, *, penalty: float = 0.0) -> Tensor:
    """One score [...] of n heads' [..., n]: their mean less `penalty` times their standard deviation.

    A lower confidence bound that makes responses on which the heads disagree worth less (Coste et al. 2024, "UWO" with
    the standard deviation in place of the variance).
    """
    return head_scores.mean(dim=-1) - penalty * disagreement(head_scores)


def disagreement(head_scores: Tensor) -> Tensor:
    """Biased standard deviation over the heads, [..., n] -> [...]; 0 for one head."""
    return head_scores.std(dim=-1, correction=0)
