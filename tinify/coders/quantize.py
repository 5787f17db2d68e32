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
    total = _total(precision)
    p = _floats(pmf, "a pmf")
    if p.ndim != 1 or not 1 <= p.size <= total:
        raise InputError(f"a pmf of shape {p.shape}: expected one axis of 1 to {total} probabilities")
    widths = _widths(p, np.array([p.size]), total)
    return np.concatenate(([0], np.cumsum(widths))).astype(np.int32)


def pmfs_to_quantized_cdfs(
    pmfs: npt.ArrayLike, tails: npt.ArrayLike, lengths: npt.ArrayLike, precision: int = PRECISION
) -> npt.NDArray[np.int32]:
    """The integer CDFs of many probability mass functions, as :func:`pmf_to_quantized_cdf` makes each of them.

    ``pmfs`` is (rows, width), of which row ``r`` counts up to ``lengths[r]``; the probability of its last bin, the
    escape, is ``tails[r]``. Returns (rows, longest length + 2): row ``r`` has ``lengths[r] + 2`` integers, then zeros.
    Raises :class:`~tinify.errors.InputError` as there, and for shapes that do not agree.

    >>> pmfs_to_quantized_cdfs([[0.1, 0.2, 0], [0.5, 9, 9]], tails=[0, 0.5], lengths=[3, 1]).tolist()
    [[0, 21845, 65534, 65535, 65536], [0, 32768, 65536, 0, 0]]
    """
    total = _total(precision)
    p, tail, length = _floats(pmfs, "pmfs"), _floats(tails, "tails").reshape(-1), np.asarray(lengths)
    if p.ndim != 2 or not tail.shape == length.shape == p.shape[:1] or length.dtype.kind not in "iu":
        raise InputError(
            f"pmfs of shape {p.shape}, {tail.size} tails, {length.dtype} lengths of shape {length.shape}: "
            "expected (rows, width), and a tail and an integer for each row"
        )
    if not length.size:
        return np.zeros((0, 2), np.int32)
    if length.min() < 0 or length.max() > min(p.shape[1], total - 1):
        raise InputError(
            f"lengths from {length.min()} to {length.max()}: expected 0 to {min(p.shape[1], total - 1)}, "
            f"the width of the pmfs, and less than {total}"
        )
    sizes = length.astype(np.int64) + 1
    column = np.arange(sizes.max())
    padded = np.empty((len(sizes), column.size), np.float32)
    padded[:, :-1] = p[:, : column.size - 1]
    padded[np.arange(len(sizes)), length] = tail
    used = column < sizes[:, None]
    cdfs = np.zeros((len(sizes), column.size + 1), np.int32)
    ends = np.cumsum(_widths(padded[used], sizes, total))
    cdfs[:, 1:][used] = ends - np.repeat(total * np.arange(len(sizes)), sizes)
    return cdfs


def _total(precision: int) -> int:
    if not 1 <= precision <= PRECISION:
        raise InputError(f"precision {precision!r}: expected 1 to {PRECISION} bits")
    return 1 << precision


def _floats(values: npt.ArrayLike, what: str) -> npt.NDArray[np.float32]:
    try:
        with np.errstate(over="ignore"):
            return np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{what} that are no array of numbers on the CPU: {error}") from error


def _widths(p: npt.NDArray[np.float32], sizes: npt.NDArray[np.int64], total: int) -> npt.NDArray[np.int64]:
    """The widths of all bins of pmfs that stand one after another; those of each add up to ``total``."""
    starts = np.cumsum(sizes) - sizes
    bad = np.flatnonzero(~(np.isfinite(p) & (p >= 0)))
    if bad.size:
        row = np.searchsorted(starts, bad[0], side="right") - 1
        raise InputError(f"{_name(row, sizes)} with the element {p[bad[0]]}: probabilities are finite and not negative")
    sums = np.add.reduceat(p, starts, dtype=np.float64)
    if sums.max() >= 1 << 15:
        raise InputError(f"{_name(sums.argmax(), sizes)} that sums to {sums.max():g}: expected a sum near one")
    widths = _rounded_shares(p, sizes, starts, total)
    widths[starts + sizes - 1] += total - np.add.reduceat(widths, starts)
    _widen_empty_bins(widths, sizes)
    return widths


def _name(row: np.intp, sizes: npt.NDArray[np.int64]) -> str:
    return "a pmf" if sizes.size == 1 else f"row {row}: a pmf"


def _rounded_shares(
    p: npt.NDArray[np.float32], sizes: npt.NDArray[np.int64], starts: npt.NDArray[np.int64], total: int
) -> npt.NDArray[np.int64]:
    scaled = p * np.float32(total)  # exact, by a power of two
    floor = np.floor(scaled)
    counts = floor.astype(np.int64) + (scaled - floor >= 0.5)
    sums = np.add.reduceat(counts, starts)
    if not sums.all():
        raise InputError(
            f"{_name(sums.argmin(), sizes)} of which every probability rounds to zero: expected a sum near one"
        )
    shares: npt.NDArray[np.int64] = counts * total // np.repeat(sums, sizes)
    return shares


def _widen_empty_bins(widths: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]) -> None:
    # The narrowest donor stays the narrowest until it is down to one unit, so donors are drained one after another.
    row = np.repeat(np.arange(sizes.size), sizes)
    empty = widths == 0
    wanted = np.bincount(row[empty], minlength=sizes.size)
    donors = np.flatnonzero((widths > 1) & (wanted[row] > 0))
    donors = donors[np.argsort(row[donors] << (PRECISION + 1) | widths[donors], kind="stable")]
    spare, row = widths[donors] - 1, row[donors]
    given_before = np.cumsum(spare) - spare
    counts = np.bincount(row, minlength=sizes.size)
    given_before -= given_before[(np.cumsum(counts) - counts)[row]]  # by the rows before
    widths[donors] -= np.clip(wanted[row] - given_before, 0, spare)
    widths[empty] = 1
