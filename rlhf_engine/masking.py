"""Means, variances and whitening over the valid places of a tensor. Masks are bool, True where a place counts.

Masked places are replaced before any arithmetic, so that NaN or infinity in padding never reaches a result or gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor

VARIANCE_FLOOR = 1e-8


def at_least_float32(values: Tensor) -> Tensor:
    """Half-precision `values` widened to float32; float32 and float64 as they are."""
    return values.to(wide_dtype(values))


def wide_dtype(values: Tensor) -> torch.dtype:
    """float32, or float64 where `values` are."""
    return torch.promote_types(values.dtype, torch.float32)


def masked_sum(values: Tensor, mask: Tensor) -> Tensor:
    """Sum of `values` where `mask` is True; both of the same shape, result scalar."""
    return values.masked_fill(~mask, 0.0).sum()


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of `values` where `mask` is True; 0 for an empty mask."""
    return masked_sum(values, mask) / mask.sum().clamp(min=1)


def centred(values: Tensor, mask: Tensor) -> Tensor:
    """Valid values less their mean; 0 elsewhere.

    The mean is taken off twice: the rounding error of the first would be all that is left of a large constant, and
    whitening would make a signal of it.
    """
    roughly = values - masked_mean(values, mask)
    return (roughly - masked_mean(roughly, mask)).masked_fill(~mask, 0.0)


def masked_var(values: Tensor, mask: Tensor) -> Tensor:
    """Biased (population) variance of the valid values; 0 for an empty mask."""
    return masked_mean(centred(values, mask).square(), mask)


def whiten(values: Tensor, mask: Tensor) -> Tensor:
    """Valid values with mean 0 and variance 1; 0 elsewhere, and everywhere if they are constant."""
    return centred(values, mask) * torch.rsqrt(masked_var(values, mask) + VARIANCE_FLOOR)


def whiten_keeping_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Valid values with variance 1 about their own mean; 0 elsewhere."""
    return (whiten(values, mask) + masked_mean(values, mask)).masked_fill(~mask, 0.0)


def first_true_index(matches: Tensor) -> Tensor:
    """[B, R] bool -> [B] index of the first True in each row, or R where there is none."""
    length = matches.shape[-1]
    columns = torch.arange(length, device=matches.device).expand_as(matches)
    return columns.masked_fill(~matches, length).amin(dim=-1)


def mask_through_first(matches: Tensor) -> Tensor:
    """[B, R] bool -> mask that is True up to and including the first True of each row; all True where there is none."""
    columns = torch.arange(matches.shape[-1], device=matches.device)
    return columns <= first_true_index(matches).unsqueeze(-1)
