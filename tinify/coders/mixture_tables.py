"""The integers by which a Gaussian mixture is coded: the normal distribution, scales, and how far a component reaches.

specs/FORMAT.md, section "Strings of Gaussian mixtures", says what they are.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import numpy.typing as npt

from tinify.coders.coder import IntArray
from tinify.errors import InputError

MEAN_UNITS = 256
"""Parts of one in which means are given."""
WEIGHT_UNITS = 65536
"""What the weights of the components add up to."""
NORMAL_BITS = 24
"""The distribution function is in units of 2^-24."""
NORMAL_STEPS = 128
"""Entries of its table for one standard deviation."""
NORMAL_REACH = 6
"""It goes that many standard deviations to either side."""

_HALF = NORMAL_STEPS * NORMAL_REACH
_STEEPEST = (1 << 31) - 1
_FARTHEST = (1 << 28) - 1


@cache
def normal_table() -> IntArray:
    """The standard normal distribution function at (i - 768) / 128 for i up to 1536, in units of 2^-24.

    Every entry is the nearest integer to a number that is nowhere close to halfway between two, so it does not depend
    on who computes it.
    """
    lower = [0.5 * math.erfc((_HALF - i) / NORMAL_STEPS * math.sqrt(0.5)) for i in range(_HALF + 1)]
    half = np.rint(np.ldexp(lower, NORMAL_BITS)).astype(np.int32)
    table = np.concatenate((half, (1 << NORMAL_BITS) - half[-2::-1]))
    table.setflags(write=False)
    return table


def steepness(scales: npt.ArrayLike) -> IntArray:
    """2^23 over each scale, rounded, from 1 to 2^31 - 1: int32 of one axis."""
    array = np.asarray(scales, np.float64)
    if array.ndim != 1 or not array.size or not (np.isfinite(array).all() and (array > 0).all()):
        raise InputError(f"scales {scales!r}: expected at least one, all positive and finite, along one axis")
    return np.clip(np.floor((1 << 23) / array + 0.5), 1, _STEEPEST).astype(np.int32)


def reaches(steep: IntArray, tail_mass: float) -> IntArray:
    """How far a component is coded other than by an escape, in units of the means: (scales, 17), int32.

    The column is the number of bits of its weight less one. It ends where a symbol would have less than half a unit of
    probability, or all symbols beyond, or these less than half of ``tail_mass``.
    """
    if not 0 <= tail_mass < 1:
        raise InputError(f"tail_mass {tail_mass!r}: expected 0 or more, and less than 1")
    below = normal_table()[_HALF::-1].astype(np.int64)
    weights = 1 << np.arange(17, dtype=np.int64)
    certain = below[None, :] <= np.maximum((1 << 23) / weights, tail_mass * (1 << 23))[:, None]
    density = weights[:, None] * np.append(below[:-1] - below[1:], 0)
    steps = [np.argmax(certain | (density < -(-(1 << 39) // one)), axis=1) << 24 for one in steep.tolist()]
    far: IntArray = np.minimum(np.stack(steps) // steep[:, None], _FARTHEST).astype(np.int32)
    return far
