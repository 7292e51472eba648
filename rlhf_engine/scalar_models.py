"""Scalar models (reward, value): a transformer with heads, loading, values and scores of rollouts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf_engine.config import ModelConfig
from rlhf_engine.errors import ConfigError
from rlhf_engine.masking import at_least_float32
from rlhf_engine.models import (
    finish_model,
    load_pretrained,
    model_config_of,
    prepare_model_config,
    read_model_config,
)
from rlhf_engine.packing import mean_states, scattered
from rlhf_engine.rollout import Rollout
from rlhf_engine.rollout_states import final_states, states_before_actions, states_of_responses
from rlhf_engine.scalar_heads import HeadShape, disagreement, ensemble_scores, init_heads, network_class


class ScalarModel(nn.Module):
    """A transformer with scalar heads: a reward model, or a value model (critic).

    `network` is transformers' model for sequence classification. With linear heads on the last token its saved
    directory loads there as well, one label for each head; other heads are refused there (docs/reward_models.md).
    A head's score is gain * (raw - its offset) + bias, by `score_gain`, `score_bias`, `score_offsets` of the config.
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
    def head_shape(self) -> HeadShape:
        return HeadShape.of(self.network.config)

    @property
    def affine(self) -> tuple[float, float]:
        """(gain, bias) of the normalisation."""
        config = self.network.config
        return getattr(config, "score_gain", 1.0), getattr(config, "score_bias", 0.0)

    @property
    def offsets(self) -> list[float]:
        """What is taken off each head's raw score; empty: nothing."""
        return list(getattr(self.network.config, "score_offsets", []))

    @property
    def score_norm(self) -> str:
        """What the normalisation was made on, in the words of `rm.score_norm`; empty where that is not known."""
        return getattr(self.network.config, "score_norm", "")

    def set_affine(self, gain: float, bias: float, *, head_offsets: Sequence[float] = (), score_norm: str = "") -> None:
        """Replaces the normalisation: it never accumulates, on reload either. No offsets: all heads have 0.

        The range of scores is no longer known.
        """
        config: Any = self.network.config
        config.score_gain, config.score_bias = gain, bias
        config.score_offsets, config.score_norm = list(head_offsets), score_norm
        config.score_range = []

    @property
    def score_range(self) -> tuple[float, float] | None:
        """(lowest, highest) score of the held-out comparisons' responses; None where it was not measured."""
        low_and_high = getattr(self.network.config, "score_range", [])
        return (low_and_high[0], low_and_high[1]) if low_and_high else None

    def keep_score_range(self, scores: Sequence[float]) -> None:
        """Of normalised scores of held-out responses; no scores: not measured."""
        config: Any = self.network.config
        config.score_range = [min(scores), max(scores)] if scores else []

    def head_scores(self, states: Tensor) -> Tensor:
        """Every head's normalised scalars, fp32 [..., n], of hidden states [..., H], also where matrix products
        elsewhere run in bf16.
        """
        gain, bias = self.affine
        offsets = self.offsets or [0.0]
        with torch.autocast(states.device.type, enabled=False):
            raw: Tensor = self.network.score(at_least_float32(states))
        return (raw - torch.tensor(offsets, device=raw.device)) * gain + bias

    def head(self, states: Tensor) -> Tensor:
        """Normalised scalars, fp32 [...], of hidden states [..., H]: the mean over the heads."""
        return self.head_scores(states).mean(dim=-1)

    def save_pretrained(self, directory: Path) -> None:
        self.network.save_pretrained(directory)


def load_scalar_model(
    config: ModelConfig,
    tokenizer: PreTrainedTokenizerBase,
    device: torch.device,
    *,
    head_init: Literal["normal", "zero"] = "normal",
    head_shape: HeadShape | None = None,
    key: str = "model",
) -> ScalarModel:
    """A reward or value model; a checkpoint without scalar heads (an SFT policy) gets new ones.

    normal: N(0, 1/sqrt(d + 1)) (Stiennon et al. 2020); zero: every score ties at first. Without a `head_shape` the
    checkpoint's own is taken. Raises ConfigError where the checkpoint's heads have another shape.
    """
    hf_config = read_model_config(config, key) if config.path else model_config_of(config.init, tokenizer)
    hf_config = prepare_model_config(hf_config, config, tokenizer, key)
    shape = _agreed_shape(hf_config, head_shape, config, key)
    shape.write_to(hf_config)
    kind = network_class(shape, hf_config)
    if config.path:
        network, missing = load_pretrained(kind, config, hf_config, key)
    else:
        network, missing = kind.from_config(hf_config, attn_implementation=config.attention).float(), {"score.weight"}
    if missing:
        init_heads(network.score, head_init)
    return ScalarModel(finish_model(network, config, tokenizer, device))


def is_reward_model(config: ModelConfig, key: str) -> bool:
    """Whether `config.path` has been trained as one. Raises ConfigError, naming `key`, where it can't be read."""
    return bool(config.path) and hasattr(read_model_config(config, key), "score_gain")


def score_heads(config: ModelConfig, key: str) -> int:
    """How many heads the model at `config.path` has. Raises ConfigError, naming `key`, where it can't be read."""
    return HeadShape.of(read_model_config(config, key)).count


def _agreed_shape(hf_config: Any, asked: HeadShape | None, config: ModelConfig, key: str) -> HeadShape:
    found = HeadShape.of(hf_config)
    if asked is not None and asked != found and hasattr(hf_config, "score_gain"):
        raise ConfigError(
            f"{key}.path: {config.path!r} is a reward model with {found}, but {asked} are asked for; set rm.head, "
            "rm.pooling and rm.heads to what it has, or start from an SFT policy"
        )
    return asked or found


def response_values(value_model: ScalarModel, rollout: Rollout) -> Tensor:
    """V of the state before each response token, fp32 [B, R]; 0 where `response_mask` is False.

    The mean over the heads of the state itself: a critic never pools, for V of a state may not look ahead.
    """
    return values_of_states(value_model, states_before_actions(value_model, rollout), rollout)


def values_of_states(value_model: ScalarModel, states: Tensor, rollout: Rollout) -> Tensor:
    """`response_values` from the hidden states before each valid action, [n, H]."""
    return scattered(value_model.head(states), rollout.response_mask)


def response_head_scores(reward_model: ScalarModel, rollout: Rollout) -> Tensor:
    """Every head's score of each row, fp32 [B, n], read at the last token (EOS, where it ended), or off the mean of
    the response's states.
    """
    if reward_model.head_shape.pooling == "last":
        return reward_model.head_scores(final_states(reward_model, rollout))
    states = states_of_responses(reward_model, rollout)
    return reward_model.head_scores(mean_states(states, rollout.response_mask))


def response_scores(reward_model: ScalarModel, rollout: Rollout) -> Tensor:
    """The reward model's score of each row, fp32 [B]: the mean over its heads."""
    return response_head_scores(reward_model, rollout).mean(dim=-1)


def scores_and_disagreements(
    reward_model: ScalarModel, rollout: Rollout, *, ensemble_penalty: float
) -> tuple[Tensor, Tensor]:
    """Scores less `ensemble_penalty` times the heads' disagreement, and that disagreement; fp32 [B] each."""
    head_scores = response_head_scores(reward_model, rollout)
    return ensemble_scores(head_scores, penalty=ensemble_penalty), disagreement(head_scores)
