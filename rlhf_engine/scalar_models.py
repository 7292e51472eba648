"""Scalar models (reward, value): a transformer with a head, loading, values and scores of rollouts."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from rlhf_engine.config import ModelConfig
from rlhf_engine.models import (
    finish_model,
    hidden_states,
    load_pretrained,
    model_config_of,
    prepare_model_config,
    read_model_config,
)
from rlhf_engine.rollout import Rollout


class ScalarModel(nn.Module):
    """A transformer with a scalar head: a reward model, or a value model (critic).

    `network` is transformers' `AutoModelForSequenceClassification` with one label, so that the saved directory loads
    there as well; the affine normalisation score = gain * raw + bias is in its config as `score_gain`, `score_bias`.
    """

    def __init__(self, network: PreTrainedModel) -> None:
        super().__init__()
        self.network = network

    @property
    def base_model(self) -> nn.Module:
        """The transformer without its head, by transformers' own name for it."""
        backbone: nn.Module = self.network.base_model
        return backbone

    @property
    def affine(self) -> tuple[float, float]:
        """(gain, bias) of the normalisation."""
        config = self.network.config
        return getattr(config, "score_gain", 1.0), getattr(config, "score_bias", 0.0)

    def set_affine(self, gain: float, bias: float) -> None:
        """Replaces the normalisation: it never accumulates, on reload either."""
        self.network.config.score_gain, self.network.config.score_bias = gain, bias

    def head(self, states: Tensor) -> Tensor:
        """Normalised scalars, fp32 [...], of hidden states [..., H]."""
        gain, bias = self.affine
        weight = self.network.score.weight
        scores: Tensor = (states.float() @ weight.float().T).squeeze(-1) * gain + bias
        return scores

    def save_pretrained(self, directory: Path) -> None:
        self.network.save_pretrained(directory)


def load_scalar_model(
    config: ModelConfig,
    tokenizer: PreTrainedTokenizerBase,
    device: torch.device,
    *,
    head_init: Literal["normal", "zero"] = "normal",
    key: str = "model",
) -> ScalarModel:
    """A reward or value model; a checkpoint without a scalar head (an SFT policy) gets a new one.

    normal: N(0, 1/sqrt(d + 1)) (Stiennon et al. 2020); zero: every score ties at first.
    """
    hf_config = read_model_config(config, key) if config.path else model_config_of(config.init, tokenizer)
    hf_config = prepare_model_config(hf_config, config, tokenizer, key)
    hf_config.num_labels = 1
    if config.path:
        network, missing = load_pretrained(AutoModelForSequenceClassification, config, hf_config, key)
    else:
        network = AutoModelForSequenceClassification.from_config(
            hf_config, attn_implementation=config.attention
        ).float()
        missing = {"score.weight"}
    if "score.weight" in missing:
        init_scalar_head(network.score.weight, head_init)
    return ScalarModel(finish_model(network, config, tokenizer, device))


@torch.no_grad()
def init_scalar_head(weight: Tensor, head_init: Literal["normal", "zero"]) -> None:
    """Fills the head's weight [1, H] of a new scalar model, in place."""
    if head_init == "zero":
        weight.zero_()
    else:
        weight.normal_(0.0, 1.0 / math.sqrt(weight.shape[1] + 1))


def response_values(value_model: ScalarModel, rollout: Rollout) -> Tensor:
    """V of the state before each response token, fp32 [B, R]; 0 where `response_mask` is False."""
    hidden = hidden_states(value_model, rollout.tokens, rollout.mask)
    return value_model.head(rollout.acting_states(hidden)).masked_fill(~rollout.response_mask, 0.0)


def response_scores(reward_model: ScalarModel, rollout: Rollout) -> Tensor:
    """The reward model's score at each row's last token (EOS, where it ended), fp32 [B]."""
    hidden = hidden_states(reward_model, rollout.tokens, rollout.mask)
    return reward_model.head(rollout.final_states(hidden))
