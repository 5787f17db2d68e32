"""rANS with one lane and no header, for strings of few symbols."""

from __future__ import annotations

from typing import Any

import numba as nb

from tinify.coders.rans_format import ESCAPE_BYTES, FINE, OTHER_ROWS, TINY_LOW, UNSOUND
from tinify.coders.rans_kernels import (
    INPUT,
    ROWS,
    Bytes,
    Int32s,
    Int64s,
    array,
    check_symbol,
    find_bin,
    fold,
    kernel,
    push_state,
    row_of,
    top_shift,
    types,
    unfold,
    wide,
)


@kernel()
def _push_tiny(
    symbols: Any, indexes: Any, first: int, count: int, rows: Int32s, cdf: Int32s, out: Bytes, p: int
) -> int:
    x = 0
    for i in range(first + count - 1, first - 1, -1):
        row = row_of(indexes, i)
        if not 0 <= row < rows.shape[0]:
            return -1
        base, offset, escape = wide(rows[row, 0]), wide(rows[row, 1]), wide(rows[row, 2])
        value = wide(symbols[i]) - offset
        if value < 0 or value >= escape:
            folded = fold(value, escape)
            top = top_shift(folded)
            for shift in range(top, -1, -7):
                byte = ((folded >> shift) & 127) | (128 if shift < top else 0)
                while x >= TINY_LOW:
                    p -= 1
                    out[p] = x & 255
                    x >>= 8
                x = push_state(x, byte << 8, 256)
            value = escape
        start = wide(cdf[base + value])
        width = wide(cdf[base + value + 1]) - start
        while x >= width << 32:
            p -= 1
            out[p] = x & 255
            x >>= 8
        x = push_state(x, start, width)
    while x > 0:
        p -= 1
        out[p] = x & 255
        x >>= 8
    return p


@kernel(nb.int64(INPUT, INPUT, ROWS, INPUT, array(nb.uint8)))
def push_tiny(symbols: Int32s, indexes: Int32s, rows: Int32s, cdf: Int32s, out: Bytes) -> int:
    """Codes all symbols with one lane into the end of ``out``; returns where the string begins, -1 for other rows."""
    return _push_tiny(symbols, indexes, 0, symbols.size, rows, cdf, out, out.size)


@kernel()
def push_tinies(symbols: Any, indexes: Any, count: int, rows: Int32s, cdf: Int32s, out: Bytes, ends: Int64s) -> int:
    """Codes every ``count`` symbols as a string of its own; returns as :func:`push_tiny` does.

    The strings stand from the end of ``out`` backwards, the last one first; string ``k`` ends at ``ends[k]``.
    """
    p = out.size
    for item in range(ends.size - 1, -1, -1):
        ends[item] = p
        p = _push_tiny(symbols, indexes, item * count, count, rows, cdf, out, p)
        if p < 0:
            return -1
    return p


@kernel()
def _refill(x: int, data: Bytes, p: int, end: int) -> tuple[int, int]:
    while x < TINY_LOW and p < end:
        x = (x << 8) | wide(data[p])
        p += 1
    return x, p


@kernel()
def _pop_tiny(
    data: Bytes,
    x: int,
    p: int,
    end: int,
    indexes: Any,
    first: int,
    count: int,
    rows: Int32s,
    cdf: Int32s,
    buckets: Int32s,
    out: Any,
) -> tuple[int, int, int]:
    x, p = _refill(x, data, p, end)
    for i in range(first, first + count):
        row = row_of(indexes, i)
        if not 0 <= row < rows.shape[0]:
            return OTHER_ROWS, x, p
        base, offset, escape = wide(rows[row, 0]), wide(rows[row, 1]), wide(rows[row, 2])
        slot = x & 65535
        at = find_bin(slot, row, cdf, buckets)
        start = wide(cdf[at])
        x, p = _refill((wide(cdf[at + 1]) - start) * (x >> 16) + slot - start, data, p, end)
        value = at - base
        if value == escape:
            folded = 0
            shift = 0
            byte = 128
            while byte >= 128:
                if shift == 7 * ESCAPE_BYTES:
                    return UNSOUND, x, p
                byte = (x >> 8) & 255
                x, p = _refill(((x >> 16) << 8) | (x & 255), data, p, end)
                folded |= (byte & 127) << shift
                shift += 7
            value = unfold(folded, escape)
        status = check_symbol(value + offset, out)
        if status != FINE:
            return status, x, p
        out[i] = value + offset
    return FINE, x, p


@kernel(
    types.UniTuple(nb.int64, 3)(
        array(nb.uint8, readonly=True), nb.int64, nb.int64, INPUT, ROWS, INPUT, INPUT, array(nb.int32)
    )
)
def pop_tiny(
    data: Bytes, x: int, p: int, indexes: Int32s, rows: Int32s, cdf: Int32s, buckets: Int32s, out: Int32s
) -> tuple[int, int, int]:
    """Decodes symbols from the state ``x`` and ``data[p]`` on; returns how it ended, the state and the next byte."""
    return _pop_tiny(data, x, p, data.size, indexes, 0, indexes.size, rows, cdf, buckets, out)


@kernel()
def pop_tinies(
    data: Bytes, ends: Int64s, indexes: Any, count: int, rows: Int32s, cdf: Int32s, buckets: Int32s, out: Any
) -> tuple[int, int]:
    """Decodes strings of ``count`` symbols each, one after another in ``data``; returns how it ended and in which."""
    begin = 0
    for item in range(ends.size):
        end = ends[item]
        if end > begin and data[begin] == 0:
            return UNSOUND, item
        status, x, p = _pop_tiny(data, 0, begin, end, indexes, item * count, count, rows, cdf, buckets, out)
        if status == FINE and (x != 0 or p != end):
            status = UNSOUND
        if status != FINE:
            return status, item
        begin = end
    return FINE, ends.size
