"""Bjøntegaard deltas between the codecs of a result, and between them and published curves."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tinify.errors import InputError
from tinify.evaluation.bd import Curve, bd_quality, bd_rate, caution, overlap
from tinify.evaluation.published import Reference
from tinify.evaluation.results import BdResult, CodecResult

#: What deltas are taken of; MS-SSIM in decibels.
METRICS = ("psnr", "psnr_yuv", "ms_ssim")


def deltas(codecs: Sequence[CodecResult], anchors: Sequence[CodecResult | Reference]) -> tuple[BdResult, ...]:
    """Every codec against every anchor, for each metric that both have; a codec of one point has no curve.

    A published curve whose name a codec has as well is called ``NAME (published)``.
    """
    own = {codec.name for codec in codecs}
    return tuple(
        _delta(codec, anchor, metric, own)
        for anchor in anchors
        for codec in codecs
        if codec is not anchor and len(codec.points) > 1
        for metric in METRICS
        if len(values(codec, metric)) > 1 and values(anchor, metric)
    )


def decibels(similarity: float) -> float:
    """MS-SSIM in decibels.

    >>> round(decibels(0.99), 6)
    20.0
    """
    return -10 * math.log10(max(1e-12, 1 - similarity))


def values(codec: CodecResult | Reference, metric: str) -> tuple[float, ...]:
    """A metric of a codec, point by point, in decibels; () for a published curve that lacks it."""
    if isinstance(codec, Reference):
        found = {"psnr": codec.psnr, "ms_ssim": codec.ms_ssim}.get(metric, ())
    else:
        found = tuple(value for point in codec.points if (value := getattr(point, metric)) is not None)
    return tuple(map(decibels, found)) if metric == "ms_ssim" else found


def rates(codec: CodecResult | Reference, metric: str) -> tuple[float, ...]:
    """Bits per pixel of those points."""
    if isinstance(codec, Reference):
        return codec.bpp
    return tuple(point.bpp for point in codec.points if getattr(point, metric) is not None)


def _delta(codec: CodecResult, anchor: CodecResult | Reference, metric: str, own: set[str]) -> BdResult:
    name = f"{anchor.name} (published)" if isinstance(anchor, Reference) and anchor.name in own else anchor.name
    try:
        test = Curve(rates(codec, metric), values(codec, metric), codec.name)
        base = Curve(rates(anchor, metric), values(anchor, metric), name)
        rate = bd_rate(base, test)
    except InputError as error:
        return BdResult(codec.name, name, metric, None, None, 0.0, str(error))
    try:
        quality = bd_quality(base, test)
    except InputError:  # curves can share qualities, but no rates
        quality = None
    return BdResult(codec.name, name, metric, rate, quality, overlap(base, test), caution(base, test))
