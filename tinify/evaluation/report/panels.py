"""Pictures to look at side by side: an original, one codec, and others at as many bytes."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from tinify.errors import InputError

if TYPE_CHECKING:
    from tinify.evaluation.codec import PictureCodec, Pixels

#: Side of the largest part of a picture that is shown, in pixels.
SIDE = 512


# How near a quality is searched for, where a codec takes fractions.
_FINEST = 1 / 100


@dataclass(frozen=True)
class Side:
    """One coding of a picture: bytes, bits per pixel and PSNR of the whole (None: lossless), PNG of the part shown."""

    codec: str
    size: int
    bpp: float
    psnr: float | None
    png: bytes


@dataclass(frozen=True)
class Panel:
    """The codings of one picture that can be put side by side; width and height are those of the part shown."""

    picture: str
    width: int
    height: int
    sides: tuple[Side, ...]


def panel(
    name: str,
    pixels: Pixels,
    size: int,
    codec: PictureCodec,
    quality: float | None,
    others: Sequence[PictureCodec],
    labels: Sequence[str],
) -> Panel:
    """The picture ``pixels``, whose own file has ``size`` bytes, under one codec and under others at as many bytes.

    ``others`` take the bytes of ``codec`` at ``quality``, or just more; ``labels`` are of ``codec`` and of the others.

    >>> from tinify.evaluation.codec import open_codec
    >>> grey, jpeg = np.full((40, 60, 3), 128, np.uint8), open_codec("jpeg")
    >>> [side.codec for side in panel("grey", grey, 900, jpeg, 50, [jpeg], ["JPEG", "same"]).sides]
    ['original', 'JPEG, quality 50', 'same, quality 0']
    """
    data = codec.encode(pixels, quality)
    coded = [(codec, quality, data), *((other, *at_least(other, pixels, len(data))) for other in others)]
    sides = [_side("original", pixels, size, pixels)]
    for one, label, (_, setting, data) in zip((codec, *others), labels, coded, strict=True):
        said = label if setting is None else f"{label}, quality {setting:.4g}"
        sides.append(_side(said, pixels, len(data), one.decode(data)))
    height, width, _ = middle(pixels).shape
    return Panel(name, width, height, tuple(sides))


def at_least(codec: PictureCodec, pixels: Pixels, size: int) -> tuple[float | None, bytes]:
    """The lowest quality that takes ``size`` bytes or more, and its bytes; the highest where none does."""
    if codec.limits is None:
        tried = [(quality, codec.encode(pixels, quality)) for quality in codec.settings]
        return next((one for one in tried if len(one[1]) >= size), tried[-1])
    low, high = codec.limits
    best = codec.encode(pixels, low)
    if len(best) >= size:
        return low, best
    best = codec.encode(pixels, high)
    while high - low > _FINEST:
        between = math.floor((low + high) / 2) if high - low > 1 else (low + high) / 2
        try:
            data = codec.encode(pixels, between)
        except InputError:  # a codec of whole qualities
            break
        low, high, best = (low, between, data) if len(data) >= size else (between, high, best)
    return high, best


def middle(pixels: Pixels, side: int = SIDE) -> Pixels:
    """The middle of a picture, at most ``side`` pixels high and wide."""
    height, width, _ = pixels.shape
    top, left = max(0, (height - side) // 2), max(0, (width - side) // 2)
    return pixels[top : top + side, left : left + side]


def _side(codec: str, original: Pixels, size: int, decoded: Pixels) -> Side:
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(middle(decoded))).save(stream, "PNG", compress_level=9)
    height, width, _ = original.shape
    return Side(codec, size, 8 * size / (height * width), _psnr(original, decoded), stream.getvalue())


def _psnr(a: Pixels, b: Pixels) -> float | None:
    error = float(np.mean((a.astype(np.float64) - b) ** 2))
    return 10 * math.log10(255**2 / error) if error else None
