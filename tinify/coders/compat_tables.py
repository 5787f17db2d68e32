"""Coding tables as the kernels of the field's strings want them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinify.coders.coder import IntArray
from tinify.coders.tables import CdfTables

BUCKET, PART = 8, 4
"""Logarithms of the slots in a bucket, and in a part of one that more than two bins share."""
Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Line:
    """All bins of all rows, one after another: row ``r`` takes the places from ``65536 r`` on of one line of slots."""

    rows: IntArray
    """Of each row: its first bin, its offset, its escape bin."""
    steps: Int64s
    """Of each bin: start, width << 16, log2 of the width rounded up << 33."""
    inverses: Int64s
    """Of each bin: the inverse of its width, 64 bits without a sign: see :func:`_inverse`."""
    table: Int64s
    """Of each bucket: start and width of its first bin, the width of the next, the number of the first in its row, 16
    bits each, if these two are all; else the width is 0, and above bit 32 stands where its 16 parts are, further on in
    the same form. A part of more bins has the width 0 and the number of the first."""


def line(tables: CdfTables) -> Line:
    """That form of the tables, made at the first call."""
    return tables.derive("compat", _align)


def _align(tables: CdfTables) -> Line:
    count = tables.sizes - 1
    firsts = np.cumsum(count) - count
    width = tables.cdfs.shape[1]
    edges = tables.cdfs.astype(np.int64) + 65536 * np.arange(len(tables))[:, None]
    starts = edges[np.arange(width) < count[:, None]]
    widths = np.diff(np.append(starts, 65536 * len(tables)))
    numbers = np.arange(starts.size) - np.repeat(firsts, count)
    bins = starts, widths, numbers

    table, shared = _divide(bins, np.arange(0, 65536 * len(tables), 1 << BUCKET), 1 << BUCKET)
    lows = (shared[:, None] << BUCKET) + np.arange(0, 1 << BUCKET, 1 << PART)
    parts, _ = _divide(bins, lows.reshape(-1), 1 << PART)
    table[shared] = table.size + (np.arange(shared.size) << (BUCKET - PART)) << 32

    steps, inverses = _steps(starts % 65536, widths)
    return Line(
        rows=np.stack([firsts, tables.offsets, count - 1], axis=1).astype(np.int32),
        steps=steps,
        inverses=inverses,
        table=np.concatenate([table, parts]),
    )


def of_bins(starts: IntArray, widths: IntArray) -> Line:
    """A row for each bin, in which it is symbol 0; only to push by."""
    steps, inverses = _steps(starts.astype(np.int64), widths.astype(np.int64))
    numbers = np.arange(starts.size, dtype=np.int32)
    rows = np.stack([numbers, np.zeros_like(numbers), np.ones_like(numbers)], axis=1)
    return Line(rows, steps, inverses, table=np.empty(0, np.int64))


def _steps(starts: Int64s, widths: Int64s) -> tuple[Int64s, Int64s]:
    """Steps and inverses of a :class:`Line`."""
    inverses, logarithms = _inverse(widths)
    return starts | widths << 16 | logarithms << 33, inverses


def _divide(bins: tuple[Int64s, Int64s, Int64s], lows: Int64s, size: int) -> tuple[Int64s, Int64s]:
    """The entries of the spans of ``size`` slots from ``lows`` on; and which of them two bins are too few for."""
    starts, widths, numbers = bins
    first = np.searchsorted(starts, lows, side="right") - 1
    last = np.searchsorted(starts, lows + size - 1, side="right") - 1
    few = (last - first < 2) & (widths[first] < 65536)
    entries = starts[first] % 65536 | widths[first] << 16 | widths[last] % 65536 << 32
    return np.where(few, entries, 0) | numbers[first] << 48, np.flatnonzero(~few)


def _inverse(widths: Int64s) -> tuple[Int64s, Int64s]:
    """2^(63 + l) / width rounded up, and l, its logarithm rounded up.

    For x below 2^63, the high 64 bits of 2 x times the first, shifted by l, are x // width (Granlund and Montgomery,
    Division by Invariant Integers using Multiplication, PLDI 1994).
    """
    logarithms = np.ceil(np.log2(widths)).astype(np.int64)
    high, rest = np.divmod(((1 << logarithms) - widths) << 32, widths)
    low = -(-(rest << 31) // widths)
    # 2^63 is added as the sign bit: the sum below it is less than 2^63.
    return ((high << 31) + low) | np.int64(-(2**63)), logarithms
