"""Bjøntegaard deltas: how much rate, or how many decibels, lie between two rate-distortion curves in the mean."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from tinify.errors import InputError

METHODS = ("pchip", "akima")
#: Below this overlap, or with fewer points, a delta says little.
LEAST_OVERLAP, LEAST_POINTS = 0.5, 4


@dataclass(frozen=True)
class Curve:
    """Rates (bits per pixel) and qualities (decibels) of one codec, both rising.

    Raises :class:`~tinify.errors.InputError` for fewer than two points, a rate that is not positive, or a quality that
    falls where the rate rises.
    """

    rates: tuple[float, ...]
    qualities: tuple[float, ...]
    name: str = "the curve"

    def __post_init__(self) -> None:
        pairs = sorted(zip(self.rates, self.qualities, strict=True))
        if len(pairs) < 2:
            raise InputError(f"{self.name} has {len(pairs)} points: a delta needs two, and four to be worth something")
        if not all(math.isfinite(value) for pair in pairs for value in pair) or pairs[0][0] <= 0:
            raise InputError(f"{self.name} has a rate that is not positive, or a value that is no number")
        for (rate, quality), (more, other) in pairwise(pairs):
            if not (rate < more and quality < other):
                raise InputError(
                    f"{self.name} does not rise from {rate:.4f} bpp, {quality:.3f} dB to {more:.4f} bpp, {other:.3f} "
                    "dB: leave out settings that give less for more"
                )
        object.__setattr__(self, "rates", tuple(rate for rate, _ in pairs))
        object.__setattr__(self, "qualities", tuple(quality for _, quality in pairs))


def bd_rate(anchor: Curve, test: Curve, method: str = "pchip") -> float:
    """Rate of ``test`` against ``anchor`` at equal quality, in per cent: -50 is half the bits.

    The logarithm of the rate is interpolated over quality by piecewise cubics (PCHIP as the standards' common test
    conditions, or Akima), and their mean distance taken over the qualities that both curves have.
    Bjøntegaard, VCEG-M33, 2001; Strom et al., JCTVC-L1100. Raises :class:`~tinify.errors.InputError` where they share
    none.

    >>> full = Curve((0.1, 0.2, 0.4, 0.8), (28.0, 31.0, 34.0, 37.0))
    >>> half = Curve((0.05, 0.1, 0.2, 0.4), (28.0, 31.0, 34.0, 37.0))
    >>> round(bd_rate(full, half), 6)
    -50.0
    """
    mean = _mean_distance(
        (anchor.qualities, np.log(anchor.rates)), (test.qualities, np.log(test.rates)), method, "quality"
    )
    return 100 * math.expm1(mean)


def bd_quality(anchor: Curve, test: Curve, method: str = "pchip") -> float:
    """Quality of ``test`` above ``anchor`` at equal rate, in decibels, over the rates that both have.

    >>> low = Curve((0.1, 0.2, 0.4, 0.8), (28.0, 31.0, 34.0, 37.0))
    >>> high = Curve((0.1, 0.2, 0.4, 0.8), (29.0, 32.0, 35.0, 38.0))
    >>> round(bd_quality(low, high), 6)
    1.0
    """
    return _mean_distance(
        (np.log(anchor.rates), anchor.qualities), (np.log(test.rates), test.qualities), method, "rate"
    )


def overlap(anchor: Curve, test: Curve) -> float:
    """The share of the narrower curve's qualities that the other has as well, 0 to 1.

    >>> overlap(Curve((1, 2), (20, 40)), Curve((1, 2), (35, 45)))
    0.5
    """
    low = max(anchor.qualities[0], test.qualities[0])
    high = min(anchor.qualities[-1], test.qualities[-1])
    spans = (curve.qualities[-1] - curve.qualities[0] for curve in (anchor, test))
    return max(0.0, high - low) / min(spans)


def caution(anchor: Curve, test: Curve) -> str | None:
    """Why the deltas of two curves are to be taken with care; None if there is no reason."""
    few = [curve for curve in (anchor, test) if len(curve.rates) < LEAST_POINTS]
    shared = overlap(anchor, test)
    reasons = [f"{curve.name} has {len(curve.rates)} points, fewer than {LEAST_POINTS}" for curve in few]
    if shared < LEAST_OVERLAP:
        reasons.append(f"the curves share {shared:.0%} of their qualities, less than {LEAST_OVERLAP:.0%}")
    return "; ".join(reasons) or None


def _mean_distance(anchor: tuple[Any, Any], test: tuple[Any, Any], method: str, axis: str) -> float:
    """The mean of test minus anchor, each given as positions and values, over the positions that both have."""
    low, high = max(anchor[0][0], test[0][0]), min(anchor[0][-1], test[0][-1])
    if not low < high:
        raise InputError(f"the curves share no {axis}: there is nothing to compare; measure more settings")
    areas = [_interpolator(method)(*curve).antiderivative() for curve in (anchor, test)]
    before, after = (float(area(high) - area(low)) for area in areas)
    return (after - before) / float(high - low)


def _interpolator(method: str) -> Any:
    from scipy.interpolate import Akima1DInterpolator, PchipInterpolator

    if method not in METHODS:
        raise InputError(f"unknown method {method!r}: expected one of {', '.join(METHODS)}")
    return PchipInterpolator if method == "pchip" else Akima1DInterpolator
