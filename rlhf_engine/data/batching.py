"""Token lists to padded tensors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def left_pad(sequences: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Tokens [B, P] with padding on the left, and their mask [B, P], True where a token is real."""
    width = max((len(sequence) for sequence in sequences), default=0)
    tokens = torch.full((len(sequences), width), pad_id, dtype=torch.long)
    mask = torch.zeros(len(sequences), width, dtype=torch.bool)
    for row, sequence in enumerate(sequences):
        if sequence:
            tokens[row, -len(sequence) :] = torch.tensor(sequence)
            mask[row, -len(sequence) :] = True
    return tokens, mask


def right_pad(sequences: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Tokens [B, R] with padding on the right, and their mask [B, R], True where a token is real."""
    width = max((len(sequence) for sequence in sequences), default=0)
    tokens = torch.full((len(sequences), width), pad_id, dtype=torch.long)
    mask = torch.zeros(len(sequences), width, dtype=torch.bool)
    for row, sequence in enumerate(sequences):
        tokens[row, : len(sequence)] = torch.tensor(sequence, dtype=torch.long)
        mask[row, : len(sequence)] = True
    return tokens, mask
