"""Multi-scale structural similarity, a distance that goes by local contrast and structure more than by error."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from tinify.errors import InputError

# Shares of the scales, from the finest; Wang et al., section 3.2.
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW, SIGMA = 11, 1.5

# Below this side the coarsest scale has no room for a window.
MS_SSIM_MIN_SIDE = (WINDOW - 1) * 2 ** (len(WEIGHTS) - 1) + 1

# What keeps the quotients steady where a picture is dark or flat, for values in [0, 1].
C1, C2 = 0.01**2, 0.03**2


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """Mean multi-scale structural similarity of two batches, a scalar tensor.

    Both are (batch, channels, height, width) in [0, 1], of sides at least ``MS_SSIM_MIN_SIDE``;
    :class:`~tinify.errors.InputError` otherwise. Odd sides get a row or column of black before they are halved, as in
    the figures that the field reports. Its gradient is finite everywhere.
    Wang, Simoncelli, Bovik: Multiscale Structural Similarity, Asilomar 2003.

    >>> a = torch.rand(1, 3, 161, 200)
    >>> round(float(ms_ssim(a, a)), 5)
    1.0
    """
    if a.shape != b.shape or a.dim() != 4 or min(a.shape[2:]) < MS_SSIM_MIN_SIDE:
        raise InputError(
            f"MS-SSIM takes two batches (batch, channels, height, width) of one shape, sides at least "
            f"{MS_SSIM_MIN_SIDE}; got {tuple(a.shape)} and {tuple(b.shape)}"
        )
    window = _window(a)
    product = torch.ones(a.shape[:2], dtype=a.dtype, device=a.device)
    for scale, weight in enumerate(WEIGHTS):
        if scale:
            a, b = _halved(a), _halved(b)
        structure, whole = _similarity(a, b, window)
        product = product * _power(whole if weight is WEIGHTS[-1] else structure, weight)
    return product.mean()


def _similarity(a: Tensor, b: Tensor, window: Tensor) -> tuple[Tensor, Tensor]:
    """Contrast and structure, and these times luminance, each the mean over (batch, channels)."""
    maps = torch.cat([a, b, a * a, b * b, a * b], 1)
    mean_a, mean_b, aa, bb, ab = _blurred(maps, window).tensor_split(5, 1)
    variances, covariance = aa - mean_a**2 + bb - mean_b**2, ab - mean_a * mean_b
    structure = (2 * covariance + C2) / (variances + C2)
    luminance = (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
    return structure.mean((2, 3)), (luminance * structure).mean((2, 3))


def _window(x: Tensor) -> Tensor:
    offsets = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    bell = torch.exp(-(offsets**2) / (2 * SIGMA**2))
    return bell / bell.sum()


def _blurred(x: Tensor, window: Tensor) -> Tensor:
    """Means under the window wherever it lies inside the picture."""
    channels = x.shape[1]
    x = x.contiguous(memory_format=torch.channels_last)  # where a CPU is fastest at convolving channel by channel
    for shape in ((1, 1, WINDOW, 1), (1, 1, 1, WINDOW)):
        x = F.conv2d(x, window.reshape(shape).repeat(channels, 1, 1, 1), groups=channels)
    return x


def _halved(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, kernel_size=2, padding=[side % 2 for side in x.shape[2:]])


def _power(x: Tensor, exponent: float) -> Tensor:
    """``max(x, 0) ** exponent``, with a gradient of zero, not of infinity, where ``x`` is not positive."""
    positive = x > 0
    return torch.where(positive, torch.where(positive, x, 1.0) ** exponent, 0.0)
