"""How far a clip is from another: planes of luma and chroma, as video is measured."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinify.errors import InputError

Planes = tuple[NDArray[Any], ...]

_KR, _KB = 0.2126, 0.0722


def rgb_to_yuv420(frame: NDArray[np.uint8]) -> Planes:
    """Luma (height, width) and chroma, each half as high and wide, of an RGB frame (height, width, 3): uint8.

    BT.709 of full range; chroma is the mean of squares of four, of the pixels that there are at odd sides. Raises
    :class:`~tinify.errors.InputError` for another form.

    >>> [plane.tolist() for plane in rgb_to_yuv420(np.full((2, 2, 3), 255, np.uint8))]
    [[[255, 255], [255, 255]], [[128]], [[128]]]
    """
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        raise InputError(f"a frame is {frame.dtype} of {frame.shape}: expected uint8 of (height, width, 3)")
    red, green, blue = (frame[..., channel].astype(np.float64) for channel in range(3))
    luma = _KR * red + (1 - _KR - _KB) * green + _KB * blue
    chroma = ((blue - luma) / (2 * (1 - _KB)), (red - luma) / (2 * (1 - _KR)))
    return _bytes(luma), *(_bytes(_halved(plane) + 128) for plane in chroma)


def yuv_psnr(reference: Planes, decoded: Planes, bitdepth: int = 8) -> dict[str, float]:
    """PSNR in decibels of each plane, ``y``, ``u`` and ``v``, and ``yuv``, of their mean weighed 6:1:1.

    Ohm, Sullivan, Schwarz, Tan, Wiegand: Comparison of the Coding Efficiency of Video Coding Standards, IEEE TCSVT 22,
    2012, section III. Raises :class:`~tinify.errors.InputError` for planes of different sizes.
    """
    if [plane.shape for plane in reference] != [plane.shape for plane in decoded] or not reference:
        sizes = [[plane.shape for plane in planes] for planes in (reference, decoded)]
        raise InputError(f"planes of {sizes[0]} and {sizes[1]}: expected as many, of the same sizes")
    peak = 2**bitdepth - 1
    found = {}
    for name, a, b in zip("yuv", reference, decoded, strict=False):
        error = float(np.mean((a.astype(np.float64) - b) ** 2))
        found[name] = math.inf if error == 0 else 10 * math.log10(peak**2 / error)
    if len(found) == 3:
        found["yuv"] = (6 * found["y"] + found["u"] + found["v"]) / 8
    return found


def _halved(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    height, width = plane.shape
    padded = np.pad(plane, ((0, height % 2), (0, width % 2)), "edge")
    squares: NDArray[np.float64] = padded.reshape(len(padded) // 2, 2, -1, 2).mean((1, 3))
    return squares


def _bytes(plane: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.clip(np.round(plane), 0, 255).astype(np.uint8)
