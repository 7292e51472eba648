"""Sampling a batch of rows to their ends. Rows that have ended leave the batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rlhf_engine.decoding.capture import CapturedSteps, EndedRows
from rlhf_engine.decoding.decoder import Decoder
from rlhf_engine.decoding.sampler import choose_tokens
from rlhf_engine.hooks import Hooks


class Sampling:
    """Samples up to `rows` rows at a time, each up to `response_tokens` tokens. What it needs is allocated once.

    A step only changes tensors in place, so that a GPU can be given the whole of it at once (capture.py).
    """

    def __init__(
        self,
        decoder: Decoder,
        *,
        rows: int,
        response_tokens: int,
        temperature: float,
        eos_id: int,
        device: torch.device,
    ) -> None:
        self._decoder, self._temperature, self._eos_id = decoder, temperature, eos_id
        self._captured = CapturedSteps() if decoder.capturable and device.type == "cuda" else None
        self._uniforms = torch.zeros(rows, response_tokens, dtype=torch.float64, device=device)
        self._sampled = torch.zeros(rows, response_tokens, dtype=torch.long, device=device)
        self._column = torch.zeros(1, dtype=torch.long, device=device)
        self._rows, self._last = (torch.zeros(rows, dtype=torch.long, device=device) for _ in range(2))
        self._ended = torch.zeros(rows, dtype=torch.bool, device=device)

    def sample(self, prompts: Sequence[list[int]], uniforms: Tensor, hooks: Hooks) -> Tensor:
        """Sampled tokens [B, R] behind B prompts, for uniforms [B, R]; EOS repeated after a row's end."""
        live = len(prompts)
        self._uniforms[:live] = uniforms.to(self._uniforms.device)
        self._sampled.fill_(self._eos_id)
        self._rows[:live] = torch.arange(live, device=self._rows.device)
        self._ended.fill_(False)
        self._column.zero_()
        self._take(self._decoder.begin(prompts, hooks))
        ended = EndedRows(self._ended)
        for sampled in range(1, uniforms.shape[1]):
            hooks.token_point()
            live = self._without_ended(live, ended)
            if not live:
                break
            reach = self._decoder.reach(sampled)
            if self._captured:
                self._captured.run(self._step, live, reach)
            else:
                with torch.inference_mode(self._decoder.capturable):
                    self._step(live, reach)
        return self._sampled[: len(prompts)].clone()

    def _step(self, live: int, reach: int) -> None:
        self._take(self._decoder.advance(self._last[:live], reach))

    def _take(self, logits: Tensor) -> None:
        """Draws the next token of each row that is under way."""
        live = len(logits)
        rows, ended = self._rows[:live], self._ended[:live]
        tokens = choose_tokens(logits, self._uniforms[rows, self._column], self._temperature)
        tokens = tokens.masked_fill(ended, self._eos_id)
        self._last[:live] = tokens
        self._sampled[rows, self._column] = tokens
        ended |= tokens == self._eos_id
        self._column += 1

    def _without_ended(self, live: int, ended: EndedRows) -> int:
        """How many rows go on: fewer once an eighth of them has ended; captured steps, once half."""
        count = ended.count(live)
        size = live - count
        if self._captured:
            size = live // 2 if count * 2 >= live else live
        elif count * 8 < live:
            return live
        if size < live:
            self._move_to_front(live, size)
        return size if count < live else 0

    def _move_to_front(self, live: int, size: int) -> None:
        """Puts rows under way from behind `size` in the places of ended ones before it."""
        index = torch.arange(size, device=self._rows.device)
        holes = self._ended[:size].nonzero().squeeze(1)
        behind = (~self._ended[size:live]).nonzero().squeeze(1) + size
        index[holes[: len(behind)]] = behind
        self._decoder.keep(index)
        for part in (self._rows, self._last, self._ended):
            part[:size] = part[index]
