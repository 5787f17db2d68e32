"""Distances between pictures."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tinify.metrics.similarity import MS_SSIM_MIN_SIDE, ms_ssim

__all__ = ["MS_SSIM_MIN_SIDE", "ms_ssim", "psnr"]


def psnr(a: Tensor, b: Tensor) -> float:
    """Peak signal-to-noise ratio in decibels of two pictures in [0, 1]; infinite if they are equal.

    >>> round(psnr(torch.zeros(3, 8, 8), torch.full((3, 8, 8), 0.1)), 6)
    20.0
    """
    error = float(torch.mean((a.double() - b.double()) ** 2))
    return -10 * math.log10(error) if error else math.inf
