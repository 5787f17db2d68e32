"""The inner loops of rANS, compiled by numba; specs/FORMAT.md says what they compute.

Kernels check nothing that :class:`~tinify.coders.tables.CdfTables` has checked: indexes and tables are sound. Of a
string nothing is assumed: every read from it is bounded, and whatever it says, states stay below 2^48 and symbols
within int32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba as nb
import numpy as np
import numpy.typing as npt

F = TypeVar("F", bound=Callable[..., Any])
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint16]

# Loosely typed, because numba has its own idea of what an int is.
njit: Any = nb.njit
types: Any = nb.types
wide: Any = np.int64

BUCKETS = 256
"""Parts of the slot range, by which decoding narrows its search for a bin."""
ESCAPE_BYTES = 5
"""The longest escape: 35 bits hold the distance between any symbol and any row."""
TINY_LOW = 1 << 40
LANES_LOW = 1 << 32


def kernel(*signature: Any) -> Callable[[F], F]:
    """Compiles for that signature (for none: when first called), and keeps the result on disk if it can be written."""

    def compiled(function: F) -> F:
        try:
            result: F = njit(*signature, cache=True, nogil=True, error_model="numpy")(function)
        except RuntimeError:  # no writable place for the cache
            result = njit(*signature, nogil=True, error_model="numpy")(function)
        return result

    return compiled


def _array(dtype: Any, axes: int = 1, readonly: bool = False) -> Any:
    return types.Array(dtype, axes, "C", readonly=readonly)


_INPUT = _array(nb.int32, readonly=True)
_ROWS = _array(nb.int32, axes=2, readonly=True)


@kernel()
def _push(x: int, start: int, width: int) -> int:
    # A float64 quotient is exact: x < width * 2^32, so its error stays below 1 / width.
    quotient: int = wide(np.float64(x) / np.float64(width))
    return x + quotient * (65536 - width) + start


@kernel()
def _bin(slot: int, row: int, cdf: Int32s, buckets: Int32s) -> int:
    # The position in cdf of the last entry that is not above the slot.
    at = row * (BUCKETS + 1) + (slot >> 8)
    low: int = wide(buckets[at])
    high: int = wide(buckets[at + 1])
    while low < high:
        middle = (low + high + 1) >> 1
        if cdf[middle] <= slot:
            low = middle
        else:
            high = middle - 1
    return low


@kernel()
def _fold(value: int, escape: int) -> int:
    # Values below the row to odd numbers, above it to even ones.
    return -2 * value - 1 if value < 0 else 2 * (value - escape)


@kernel()
def _unfold(folded: int, escape: int) -> int:
    return -((folded + 1) >> 1) if folded & 1 else escape + (folded >> 1)


@kernel()
def _top_shift(folded: int) -> int:
    shift = 7 * (ESCAPE_BYTES - 1)
    while shift > 0 and folded >> shift == 0:
        shift -= 7
    return shift


@kernel(nb.int64(_INPUT, _INPUT, _ROWS, _INPUT, _array(nb.uint8)))
def push_tiny(symbols: Int32s, indexes: Int32s, rows: Int32s, cdf: Int32s, out: Bytes) -> int:
    """Codes all symbols with one lane into the end of ``out``; returns where the string begins."""
    x = 0
    p = out.size
    for i in range(symbols.size - 1, -1, -1):
        row = indexes[i]
        base, offset, escape = wide(rows[row, 0]), wide(rows[row, 1]), wide(rows[row, 2])
        value = wide(symbols[i]) - offset
        if value < 0 or value >= escape:
            folded = _fold(value, escape)
            top = _top_shift(folded)
            for shift in range(top, -1, -7):
                byte = ((folded >> shift) & 127) | (128 if shift < top else 0)
                while x >= TINY_LOW:
                    p -= 1
                    out[p] = x & 255
                    x >>= 8
                x = _push(x, byte << 8, 256)
            value = escape
        start = wide(cdf[base + value])
        width = wide(cdf[base + value + 1]) - start
        while x >= width << 32:
            p -= 1
            out[p] = x & 255
            x >>= 8
        x = _push(x, start, width)
    while x > 0:
        p -= 1
        out[p] = x & 255
        x >>= 8
    return p


@kernel()
def _refill(x: int, data: Bytes, p: int) -> tuple[int, int]:
    while x < TINY_LOW and p < data.size:
        x = (x << 8) | wide(data[p])
        p += 1
    return x, p


@kernel(nb.int64(_array(nb.uint8, readonly=True), _array(nb.int64), _INPUT, _ROWS, _INPUT, _INPUT, _array(nb.int32)))
def pop_tiny(
    data: Bytes, state: Int64s, indexes: Int32s, rows: Int32s, cdf: Int32s, buckets: Int32s, out: Int32s
) -> int:
    """Decodes symbols from ``state``, (x, position); returns how many were sound, all of them if it can be so."""
    x, p = _refill(state[0], data, state[1])
    for i in range(indexes.size):
        row = wide(indexes[i])
        base, offset, escape = wide(rows[row, 0]), wide(rows[row, 1]), wide(rows[row, 2])
        slot = x & 65535
        at = _bin(slot, row, cdf, buckets)
        start = wide(cdf[at])
        x, p = _refill((wide(cdf[at + 1]) - start) * (x >> 16) + slot - start, data, p)
        value = at - base
        if value == escape:
            folded = 0
            shift = 0
            byte = 128
            while byte >= 128:
                if shift == 7 * ESCAPE_BYTES:
                    return i
                byte = (x >> 8) & 255
                x, p = _refill(((x >> 16) << 8) | (x & 255), data, p)
                folded |= (byte & 127) << shift
                shift += 7
            value = _unfold(folded, escape)
            if not -2147483648 <= value + offset <= 2147483647:
                return i
        out[i] = value + offset
    state[0] = x
    state[1] = p
    return indexes.size


@kernel(
    types.UniTuple(nb.int64, 3)(
        _INPUT,
        _INPUT,
        _ROWS,
        _INPUT,
        _array(nb.int64),
        nb.int64,
        nb.int64,
        _array(nb.uint16),
        nb.int64,
        _array(nb.uint8),
        nb.int64,
    )
)
def push_lanes(
    symbols: Int32s,
    indexes: Int32s,
    rows: Int32s,
    cdf: Int32s,
    states: Int64s,
    need: int,
    group: int,
    words: Words,
    p: int,
    escapes: Bytes,
    e: int,
) -> tuple[int, int, int]:
    """Codes symbols from the last to the first, lane ``i % len(states)`` taking symbol ``i``.

    Words go down from ``words[p]``, escapes up from ``escapes[e]``. Stops before a multiple of ``group`` once ``need``
    words are out. Returns the number of symbols left, ``p`` and ``e``.
    """
    enough = p - need
    i = symbols.size
    lanes = states.size
    lane = i % lanes
    while i > 0 and not (p <= enough and i % group == 0):
        i -= 1
        lane = (lanes if lane == 0 else lane) - 1
        row = indexes[i]
        base, offset, escape = wide(rows[row, 0]), wide(rows[row, 1]), wide(rows[row, 2])
        value = wide(symbols[i]) - offset
        if value < 0 or value >= escape:
            folded = _fold(value, escape)
            top = _top_shift(folded)
            for shift in range(top, -1, -7):
                escapes[e] = ((folded >> shift) & 127) | (128 if shift < top else 0)
                e += 1
            value = escape
        start = wide(cdf[base + value])
        width = wide(cdf[base + value + 1]) - start
        x = states[lane]
        full = x >= width << 32
        words[p - 1] = x & 65535  # also where it is not kept: a branch here would be mispredicted
        p -= wide(full)
        states[lane] = _push(x >> 16 if full else x, start, width)
    return i, p, e


@kernel(
    types.UniTuple(nb.int64, 4)(
        _array(nb.uint16), nb.int64, _array(nb.uint8, readonly=True), nb.int64, nb.int64,
        _array(nb.int64), nb.int64, _INPUT, _ROWS, _INPUT, _INPUT, _array(nb.int32),
    )
)  # fmt: skip
def pop_lanes(
    words: Words,
    p: int,
    data: Bytes,
    e: int,
    floor: int,
    states: Int64s,
    lane: int,
    indexes: Int32s,
    rows: Int32s,
    cdf: Int32s,
    buckets: Int32s,
    out: Int32s,
) -> tuple[int, int, int, int]:
    """Decodes symbols, the first of them with lane ``lane``.

    Words are read up from ``words[p]``, whose last element is padding; escapes down from ``data[e - 1]``, never below
    ``data[floor]``. Returns how many symbols were sound, ``p``, ``e`` and the next lane.
    """
    end = words.size - 1
    lanes = states.size
    for i in range(indexes.size):
        row = wide(indexes[i])
        base = wide(rows[row, 0])
        x = states[lane]
        slot = x & 65535
        at = _bin(slot, row, cdf, buckets)
        start = wide(cdf[at])
        x = (wide(cdf[at + 1]) - start) * (x >> 16) + slot - start
        low = x < LANES_LOW
        x = (x << 16) | wide(words[p]) if low else x
        p += wide(low)
        if p > end:
            return i, end, e, lane
        states[lane] = x
        lane += 1
        if lane == lanes:
            lane = 0
        value = at - base
        if value == rows[row, 2]:
            folded = 0
            shift = 0
            byte = 128
            while byte >= 128:
                if shift == 7 * ESCAPE_BYTES or e <= floor:
                    return i, p, e, lane
                e -= 1
                byte = wide(data[e])
                folded |= (byte & 127) << shift
                shift += 7
            value = _unfold(folded, wide(rows[row, 2]))
            if not -2147483648 <= value + rows[row, 1] <= 2147483647:
                return i, p, e, lane
        out[i] = value + rows[row, 1]
    return indexes.size, p, e, lane
