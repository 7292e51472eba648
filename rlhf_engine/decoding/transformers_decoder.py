"""Decoding by transformers' own forward, for models whose weights we don't read ourselves."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from rlhf_engine.data.batching import left_pad
from rlhf_engine.hooks import Hooks
from rlhf_engine.models import lm_head_weight, position_ids_of


class TransformersDecoder:
    """Left-padded rows, positions counted over valid tokens, a cache that grows."""

    capturable = False

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model

    def begin(self, prompts: Sequence[list[int]], hooks: Hooks) -> Tensor:
        hooks.token_point()
        tokens, mask = (part.to(self.model.device) for part in left_pad(prompts, 0))
        self._cache = DynamicCache(config=self.model.config)
        self._mask, self._positions = mask, position_ids_of(mask)
        return self._logits(tokens)

    def reach(self, sampled: int) -> int:
        return 0

    def advance(self, tokens: Tensor, reach: int) -> Tensor:
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(tokens), 1)], dim=1)
        self._positions = self._positions[:, -1:] + 1
        return self._logits(tokens.unsqueeze(1))

    def keep(self, index: Tensor) -> None:
        self._cache.batch_select_indices(index)
        self._mask, self._positions = self._mask[index], self._positions[index]

    def _logits(self, tokens: Tensor) -> Tensor:
        output = self.model.base_model(
            input_ids=tokens,
            attention_mask=self._mask.long(),
            position_ids=self._positions,
            past_key_values=self._cache,
            use_cache=True,
        )
        last = output.last_hidden_state[:, -1]
        logits: Tensor = last @ lm_head_weight(self.model).to(last.dtype).T
        return logits
