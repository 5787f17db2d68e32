"""The inner loops of the range coder, compiled by numba; specs/FORMAT.md says what they compute.

As in :mod:`tinify.coders.rans_kernels`, tables and indexes are sound, and of a string nothing is assumed.
"""

from __future__ import annotations

import numba as nb
import numpy as np
import numpy.typing as npt

from tinify.coders.rans_format import ESCAPE_BYTES
from tinify.coders.rans_kernels import (
    INPUT,
    ROWS,
    Bytes,
    Int32s,
    Int64s,
    Words,
    array,
    find_bin,
    fold,
    kernel,
    types,
    unfold,
    wide,
)

Carried = npt.NDArray[np.uint32]

WHOLE = 1 << 48
"""The span of which the first symbol takes its part."""
SPAN_LOW = 1 << 32
"""Below it the span is widened by a word."""


@kernel()
def _narrow(low: int, span: int, start: int, width: int, words: Carried, k: int) -> tuple[int, int, int]:
    unit = span >> 16
    low += start * unit
    span = width * unit
    full = span < SPAN_LOW
    words[k] = low >> 32  # also where it is not kept: a branch here would be mispredicted
    low = (low & (SPAN_LOW - 1)) << 16 if full else low
    span = span << 16 if full else span
    return low, span, k + wide(full)


@kernel(types.UniTuple(nb.int64, 3)(INPUT, INPUT, ROWS, INPUT, array(nb.uint32)))
def push_range(symbols: Int32s, indexes: Int32s, rows: Int32s, cdf: Int32s, words: Carried) -> tuple[int, int, int]:
    """Codes all symbols; returns where the last span begins, how wide it is, and how many words are out.

    Words have a seventeenth bit, which is to be added to the word before: see :func:`settle`.
    """
    low, span, k = 0, WHOLE, 0
    for i in range(symbols.size):
        row = indexes[i]
        base, offset, escape = wide(rows[row, 0]), wide(rows[row, 1]), wide(rows[row, 2])
        value = wide(symbols[i]) - offset
        outside = value < 0 or value >= escape
        at = base + (escape if outside else value)
        start = wide(cdf[at])
        low, span, k = _narrow(low, span, start, wide(cdf[at + 1]) - start, words, k)
        if outside:
            folded = fold(value, escape)
            while folded > 127:
                low, span, k = _narrow(low, span, ((folded & 127) | 128) << 8, 256, words, k)
                folded >>= 7
            low, span, k = _narrow(low, span, folded << 8, 256, words, k)
    return low, span, k


@kernel(nb.void(array(nb.uint32), nb.int64, array(nb.uint8)))
def settle(words: Carried, carry: int, out: Bytes) -> None:
    """Writes words to ``out``, high byte first, each with what the one behind it carries; the last gets ``carry``."""
    for i in range(words.size - 1, -1, -1):
        value = wide(words[i]) + carry
        out[2 * i] = (value >> 8) & 255
        out[2 * i + 1] = value & 255
        carry = value >> 16


@kernel()
def _slot(distance: int, span: int) -> int:
    # A float64 quotient is exact: it is below 2^17, and its distance to the next integer at least 2^-32.
    quotient: int = wide(np.float64(distance) / np.float64(span >> 16))
    return quotient


@kernel()
def _follow(distance: int, span: int, start: int, width: int, words: Words, k: int) -> tuple[int, int, int]:
    unit = span >> 16
    distance -= start * unit
    span = width * unit
    full = span < SPAN_LOW
    distance = (distance << 16) | wide(words[k + 3]) if full else distance
    span = span << 16 if full else span
    return distance, span, k + wide(full)


@kernel(
    nb.int64(
        array(nb.uint16), nb.int64, array(nb.int64), INPUT, ROWS, INPUT, INPUT, array(nb.int32),
    )
)  # fmt: skip
def pop_range(
    words: Words, limit: int, state: Int64s, indexes: Int32s, rows: Int32s, cdf: Int32s, buckets: Int32s, out: Int32s
) -> int:
    """Decodes symbols from ``state``: the distance of the string from where its span begins, the span, words passed.

    Never passes more than ``limit`` words, three less than there are. Returns how many symbols were sound; ``state``
    moves only if it is all of them.
    """
    distance, span, k = state[0], state[1], state[2]
    for i in range(indexes.size):
        row = wide(indexes[i])
        base, offset, escape = wide(rows[row, 0]), wide(rows[row, 1]), wide(rows[row, 2])
        slot = _slot(distance, span)
        if slot > 65535:
            return i
        at = find_bin(slot, row, cdf, buckets)
        start = wide(cdf[at])
        distance, span, k = _follow(distance, span, start, wide(cdf[at + 1]) - start, words, k)
        if k > limit:
            return i
        value = at - base
        if value == escape:
            folded = 0
            shift = 0
            byte = 128
            while byte >= 128:
                slot = _slot(distance, span)
                if slot > 65535 or shift == 7 * ESCAPE_BYTES:
                    return i
                byte = slot >> 8
                distance, span, k = _follow(distance, span, byte << 8, 256, words, k)
                if k > limit:
                    return i
                folded |= (byte & 127) << shift
                shift += 7
            value = unfold(folded, escape)
            longer = byte == 0 and shift > 7  # than need be
            if longer or not -2147483648 <= value + offset <= 2147483647:
                return i
        out[i] = value + offset
    state[0], state[1], state[2] = distance, span, k
    return indexes.size
