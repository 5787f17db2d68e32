"""Files of a wanted size or fidelity, by search over the quality of a codec of variable rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from tinify import metrics
from tinify.codec import Codec
from tinify.errors import InputError
from tinify.images import Picture

# A file may be so much smaller than asked, and a picture so much better, in decibels.
SIZE_TOLERANCE, PSNR_TOLERANCE = 0.02, 0.1

_PROBES = 16


@dataclass(frozen=True)
class Hit:
    """The file found: its bytes, its quality, what it has of what was asked for, and whether that is near enough."""

    data: bytes
    quality: float
    value: float
    reached: bool


def compress_to_size(codec: Codec, picture: Picture, size: float) -> Hit:
    """The picture in at most ``size`` bytes, and in at least 0.98 of them where the codec can.

    ``value`` is the size. Where even the lowest quality is larger, that is what comes back, and where the highest is
    smaller, that. Raises :class:`~tinify.errors.InputError` for a codec of one rate or a size that is not positive.
    """
    files: dict[float, bytes] = {}

    def excess(quality: float) -> float:
        files[quality] = codec.compress(picture, quality)
        return math.log(len(files[quality]) / size)

    quality, off = _search(codec, size, excess, -SIZE_TOLERANCE)
    return Hit(files[quality], quality, len(files[quality]), -SIZE_TOLERANCE <= off <= 0)


def compress_to_psnr(codec: Codec, picture: Picture, psnr: float) -> Hit:
    """The picture with a PSNR of at least ``psnr`` decibels, and of at most 0.1 more where the codec can.

    ``value`` is the PSNR of the decoded 8-bit picture; otherwise as :func:`compress_to_size`.
    """

    original = torch.from_numpy(picture.pixels)

    def excess(quality: float) -> float:  # over the most that will do
        decoded = torch.from_numpy(codec.at(quality).reconstruct(picture).pixels)
        return metrics.psnr(decoded / 255, original / 255) - psnr - PSNR_TOLERANCE

    quality, off = _search(codec, psnr, excess, -PSNR_TOLERANCE)
    value = psnr + off + PSNR_TOLERANCE
    return Hit(codec.compress(picture, quality), quality, value, -PSNR_TOLERANCE <= off <= 0)


def _search(codec: Codec, wanted: float, excess: Callable[[float], float], tolerance: float) -> tuple[float, float]:
    """The quality whose excess, which rises with quality, lies between ``tolerance`` and 0, and that excess.

    False position, with every third step a bisection. If there is none: the best quality below, or the lowest.
    """
    if codec.qualities is None:
        raise InputError(f"{codec.name} has one rate, so that no target can be aimed at: leave it out")
    if not 0 < wanted < math.inf:
        raise InputError(f"{wanted:g} cannot be aimed at: expected a positive number")
    low, high = codec.qualities
    below, above = excess(low), excess(high)
    if below > 0 or above <= 0:
        return (low, below) if below > 0 else (high, above)
    for probe in range(_PROBES):
        if below >= tolerance or high - low <= 0.001:
            break
        share = 0.5 if probe % 3 == 2 else (tolerance / 2 - below) / (above - below)
        quality = round(low + min(max(share, 0.01), 0.99) * (high - low), 3)
        quality = min(max(quality, low + 0.001), high - 0.001)
        off = excess(quality)
        if off <= 0:
            low, below = quality, off
        else:
            high, above = quality, off
    return low, below
