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
INPUT64 = array(nb.int64, readonly=True)
MOST_WORDS = 4
"""The most words that a symbol takes: 16 bits of its bin and 40 of its escape are less."""

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


@kernel()
def _push_range(
    symbols: Int32s, indexes: Int32s, first: int, count: int, rows: Int32s, cdf: Int32s, words: Carried
) -> tuple[int, int, int]:
    low, span, k = 0, WHOLE, 0
    for i in range(first, first + count):
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


@kernel()
def _shortest(low: int, span: int) -> tuple[int, int]:
    """The number within the span that takes the fewest bytes behind the words, the lowest of them; and these bytes."""
    for tail in range(3):
        bits = 48 - 8 * tail
        number = -(-low >> bits) << bits
        if number < low + span:
            break
    return number, tail


@kernel()
def _settle(words: Carried, count: int, carry: int, out: Bytes, p: int) -> None:
    """Writes words to ``out[p:]``, high byte first, each with what the one behind it carries; the last ``carry``."""
    for i in range(count - 1, -1, -1):
        value = wide(words[i]) + carry
        out[p + 2 * i] = (value >> 8) & 255
        out[p + 2 * i + 1] = value & 255
        carry = value >> 16


@kernel(nb.void(INPUT, INPUT, nb.int64, ROWS, INPUT, array(nb.uint32), array(nb.uint8), array(nb.int64)))
def push_ranges(
    symbols: Int32s, indexes: Int32s, count: int, rows: Int32s, cdf: Int32s, words: Carried, out: Bytes, ends: Int64s
) -> None:
    """Codes every ``count`` symbols as a string of its own; string ``k`` ends at ``out[ends[k]]``.

    ``words`` has room for those of one string, which have a seventeenth bit, to be added to the word before.
    """
    p = 0
    for item in range(ends.size):
        low, span, k = _push_range(symbols, indexes, item * count, count, rows, cdf, words)
        number, tail = _shortest(low, span)
        _settle(words, k, number >> 48, out, p)
        p += 2 * k
        for i in range(tail):
            out[p + i] = (number >> (40 - 8 * i)) & 255
        p += tail
        ends[item] = p


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


@kernel()
def _pop_range(
    words: Words, limit: int, state: tuple[int, int, int], indexes: Int32s, first: int, count: int,
    rows: Int32s, cdf: Int32s, buckets: Int32s, out: Int32s, strict: bool,
) -> tuple[int, int, int, int]:  # fmt: skip
    """Decodes symbols ``first`` and on; returns how many were sound (all, if not strict) and the state."""
    distance, span, k = state
    for i in range(first, first + count):
        row = wide(indexes[i])
        base, offset, escape = wide(rows[row, 0]), wide(rows[row, 1]), wide(rows[row, 2])
        slot = _slot(distance, span)
        if slot > 65535:  # where no coder leads, since a span is seldom a multiple of 65536
            if strict:
                return i - first, distance, span, k
            slot, distance = 65535, ((span >> 16) << 16) - 1
        at = find_bin(slot, row, cdf, buckets)
        start = wide(cdf[at])
        distance, span, k = _follow(distance, span, start, wide(cdf[at + 1]) - start, words, k)
        if k > limit:
            return i - first, distance, span, k
        value = at - base
        if value == escape:
            folded = 0
            shift = 0
            byte = 128
            while byte >= 128:
                slot = _slot(distance, span)
                if shift == 7 * ESCAPE_BYTES or (slot > 65535 and strict):
                    if strict:
                        return i - first, distance, span, k
                    break
                if slot > 65535:
                    slot, distance = 65535, ((span >> 16) << 16) - 1
                byte = slot >> 8
                distance, span, k = _follow(distance, span, byte << 8, 256, words, k)
                if k > limit:
                    return i - first, distance, span, k
                folded |= (byte & 127) << shift
                shift += 7
            value = unfold(folded, escape)
            longer = byte == 0 and shift > 7  # than need be
            fits = -2147483648 <= value + offset <= 2147483647
            if strict and (longer or not fits):
                return i - first, distance, span, k
            if not fits:
                value = escape
        out[i] = value + offset
    return count, distance, span, k


@kernel(
    nb.int64(
        array(nb.uint16), nb.int64, array(nb.int64), INPUT, ROWS, INPUT, INPUT, array(nb.int32), nb.boolean,
    )
)  # fmt: skip
def pop_range(
    words: Words, limit: int, state: Int64s, indexes: Int32s, rows: Int32s, cdf: Int32s, buckets: Int32s,
    out: Int32s, strict: bool,
) -> int:  # fmt: skip
    """Decodes symbols from ``state``: the distance of the string from where its span begins, the span, words passed.

    Never passes more than ``limit`` words, three less than there are. Returns how many symbols were sound; ``state``
    moves only if it is all of them. Any words lead to some symbols if it is not ``strict``.
    """
    begin = (state[0], state[1], state[2])
    sound, distance, span, k = _pop_range(
        words, limit, begin, indexes, 0, indexes.size, rows, cdf, buckets, out, strict
    )
    if sound == indexes.size:
        state[0], state[1], state[2] = distance, span, k
    return sound


FINE, EARLY, LATE, OTHER_END = range(4)
"""How a string was found: sound, without all its symbols, with more than these, with an end that no coder writes."""


@kernel(nb.int64(nb.int64, nb.int64, nb.int64, nb.int64))
def check_end(distance: int, span: int, left: int, last: int) -> int:
    """How a string ended of which ``left`` bytes are behind the words passed, the ``last`` of all its bytes given."""
    if not 0 <= left <= 2:
        return LATE
    bits = 48 - 8 * left
    # That it is the lowest within the span, and none with a byte less is.
    if distance >> bits or (left and not 0 < last << bits <= (256 << bits) - span + distance):
        return OTHER_END
    return FINE


@kernel(
    types.UniTuple(nb.int64, 2)(
        array(nb.uint8, readonly=True), INPUT64, INPUT, nb.int64, ROWS, INPUT, INPUT, array(nb.int32), nb.boolean,
    )
)  # fmt: skip
def pop_ranges(
    data: Bytes, ends: Int64s, indexes: Int32s, count: int, rows: Int32s, cdf: Int32s, buckets: Int32s,
    out: Int32s, strict: bool,
) -> tuple[int, int]:  # fmt: skip
    """Decodes strings of ``count`` symbols each, one after another in ``data``; returns how it ended and in which."""
    longest, begin = 0, 0
    for item in range(ends.size):
        longest = max(longest, ends[item] - begin)
        begin = ends[item]
    room = (longest + 1) // 2 if strict else max((longest + 1) // 2, MOST_WORDS * count)
    words = np.empty(room + 4, np.uint16)
    begin = 0
    for item in range(ends.size):
        size = ends[item] - begin
        limit = size // 2 if strict else room
        for i in range(limit + 4):
            high = wide(data[begin + 2 * i]) if 2 * i < size else 0
            low = wide(data[begin + 2 * i + 1]) if 2 * i + 1 < size else 0
            words[i] = high << 8 | low
        first = (wide(words[0]) << 32) | (wide(words[1]) << 16) | wide(words[2])
        sound, distance, span, k = _pop_range(
            words, limit, (first, WHOLE, 0), indexes, item * count, count, rows, cdf, buckets, out, strict
        )
        status = FINE
        if strict:
            last = wide(data[begin + size - 1]) if size else 0
            status = EARLY if sound < count else check_end(distance, span, size - 2 * k, last)
        if status != FINE:
            return status, item
        begin = ends[item]
    return FINE, ends.size
