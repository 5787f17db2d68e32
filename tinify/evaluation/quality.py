"""How near a decoded picture is to the original: PSNR of RGB and of Y, U and V, MS-SSIM, and LPIPS where it is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tinify.evaluation.codec import Pixels
from tinify.metrics import MS_SSIM_MIN_SIDE, ms_ssim
from tinify.transforms import rgb2ycbcr

#: What stands for the PSNR of pictures that are equal, which is infinite: no 8-bit pictures that differ in one sample
#: of a million come near.
LOSSLESS = 120.0
_WEIGHTS = (6 / 8, 1 / 8, 1 / 8)

Distance = Callable[[Tensor, Tensor], float]


@dataclass(frozen=True)
class Quality:
    """Decibels of RGB, of Y, U and V and of their mean weighted 6:1:1; MS-SSIM and LPIPS, None where there is none."""

    psnr: float
    psnr_yuv: float
    psnr_y: float
    psnr_u: float
    psnr_v: float
    ms_ssim: float | None
    lpips: float | None


def compare(original: Pixels, decoded: Pixels, lpips: Distance | None = None) -> Quality:
    """The distances of two pictures, uint8 (height, width, 3).

    RGB's mean squared error is over all samples of three channels. Y, U and V are those of ITU-R BT.709 at full range
    (:func:`~tinify.transforms.rgb2ycbcr`), unrounded, at the full size of the picture; their mean is taken of the
    decibels, Y six times. MS-SSIM is of RGB, for pictures of 161 pixels a side and more.

    >>> black = np.zeros((8, 8, 3), np.uint8)
    >>> round(compare(black, black + 1).psnr, 3), compare(black, black).psnr
    (48.131, 120.0)
    """
    a, b = _tensor(original), _tensor(decoded)
    planes = (rgb2ycbcr(a) - rgb2ycbcr(b)).double().square().mean((0, 2, 3)).tolist()
    y, u, v = (_decibels(error) for error in planes)
    difference: NDArray[np.int32] = original.astype(np.int32) - decoded
    large = min(original.shape[:2]) >= MS_SSIM_MIN_SIDE
    return Quality(
        psnr=_decibels(float(np.square(difference).mean()) / 255**2),
        psnr_yuv=sum(weight * plane for weight, plane in zip(_WEIGHTS, (y, u, v), strict=True)),
        psnr_y=y,
        psnr_u=u,
        psnr_v=v,
        ms_ssim=float(ms_ssim(b, a)) if large else None,
        lpips=lpips(a, b) if lpips else None,
    )


def _tensor(pixels: Pixels) -> Tensor:
    return torch.tensor(pixels).permute(2, 0, 1)[None].float().div_(255)


def _decibels(error: float) -> float:
    return min(LOSSLESS, -10 * math.log10(error)) if error else LOSSLESS
