"""Distances between pictures."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Five scales of an 11-pixel window: below this side the coarsest scale has no room.
MS_SSIM_MIN_SIDE = 161


def psnr(a: Tensor, b: Tensor) -> float:
    """Peak signal-to-noise ratio in decibels of two pictures in [0, 1]; infinite if they are equal.

    >>> round(psnr(torch.zeros(3, 8, 8), torch.full((3, 8, 8), 0.1)), 6)
    20.0
    """
    error = float(torch.mean((a.double() - b.double()) ** 2))
    return -10 * math.log10(error) if error else math.inf


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """Mean multi-scale structural similarity of two batches, a scalar tensor.

    Both are (batch, channels, height, width) in [0, 1], of sides at least ``MS_SSIM_MIN_SIDE``.
    Wang, Simoncelli, Bovik: Multiscale Structural Similarity, Asilomar 2003.
    """
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as measure

    similarity: Tensor = measure(a, b, data_range=1.0, normalize="relu")
    return similarity
