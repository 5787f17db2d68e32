"""Probability mass functions to integer cumulative distribution functions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tinify.errors import InputError

PRECISION = 16
"""Bits of a probability in the coding tables: a row of a table ends with ``1 << PRECISION``."""


def pmf_to_quantized_cdf(pmf: npt.ArrayLike, precision: int = PRECISION) -> npt.NDArray[np.int32]:
    """The integer CDF of a probability mass function, in which every bin can be coded.

    Takes probabilities (need not sum to one) and returns ``len(pmf) + 1`` strictly increasing integers, from 0 to ``2
    ** precision``. A bin too unlikely for a unit of probability is given one unit from the narrowest bin that has more
    than one. What rounding leaves over goes to the last bin. The result is bit for bit the one that CompressAI 1.2
    computes.

    Raises :class:`~tinify.errors.InputError` for a negative or non-finite probability, for probabilities that all round
    to zero, and for more than ``2 ** precision`` bins.

    >>> pmf_to_quantized_cdf([0.1, 0.2, 0, 0]).tolist()
    [0, 21845, 65534, 65535, 65536]
    """
    if not 1 <= precision <= PRECISION:
        raise InputError(f"precision {precision!r}: expected 1 to {PRECISION} bits")
    total = 1 << precision
    widths = _rounded_shares(_checked(pmf, total), total)
    widths[-1] += total - widths.sum()
    _widen_empty_bins(widths)
    return np.concatenate(([0], np.cumsum(widths))).astype(np.int32)


def _checked(pmf: npt.ArrayLike, total: int) -> npt.NDArray[np.float32]:
    try:
        with np.errstate(over="ignore"):
            p = np.asarray(pmf, dtype=np.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"a pmf that is no array of numbers on the CPU: {error}") from error
    if p.ndim != 1 or not 1 <= p.size <= total:
        raise InputError(f"a pmf of shape {p.shape}: expected one axis of 1 to {total} probabilities")
    bad = p[~(np.isfinite(p) & (p >= 0))]
    if bad.size:
        raise InputError(f"a pmf with the element {bad[0]}: probabilities are finite and not negative")
    if p.sum(dtype=np.float64) >= 1 << 15:
        raise InputError(f"a pmf that sums to {p.sum(dtype=np.float64):g}: expected a sum near one")
    return p


def _rounded_shares(p: npt.NDArray[np.float32], total: int) -> npt.NDArray[np.int64]:
    scaled = p * np.float32(total)  # exact, by a power of two
    floor = np.floor(scaled)
    counts = floor.astype(np.int64) + (scaled - floor >= 0.5)
    if not counts.any():
        raise InputError("a pmf of which every probability rounds to zero: expected a sum near one")
    shares: npt.NDArray[np.int64] = counts * total // counts.sum()
    return shares


def _widen_empty_bins(widths: npt.NDArray[np.int64]) -> None:
    # The narrowest donor stays the narrowest until it is down to one unit, so donors are drained one after another.
    empty = np.flatnonzero(widths == 0)
    donors = np.flatnonzero(widths > 1)
    donors = donors[np.argsort(widths[donors], kind="stable")]
    spare = widths[donors] - 1
    given_before = np.cumsum(spare) - spare
    widths[donors] -= np.clip(empty.size - given_before, 0, spare)
    widths[empty] = 1
