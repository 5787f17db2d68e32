"""rANS with interleaved lanes, a symbol at a time."""

from __future__ import annotations

import sys
from typing import Any

from tinify.coders.rans_format import (
    BAD_END,
    BAD_START,
    END,
    ESCAPE,
    FINE,
    FLOOR,
    JOIN,
    LANE,
    LANES,
    LANES_LOW,
    NOT_MET,
    ORIGIN,
    OTHER_ROWS,
    UNSOUND,
    WORD,
)
from tinify.coders.rans_kernels import (
    Bytes,
    Int32s,
    Int64s,
    Words,
    check_symbol,
    copy_bytes,
    find_bin,
    fold,
    kernel,
    push_state,
    read_escape,
    row_of,
    unfold,
    wide,
    write_escape,
)

LITTLE_ENDIAN = sys.byteorder == "little"


@kernel()
def push_lanes(
    symbols: Any,
    indexes: Any,
    first: int,
    count: int,
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
    """Codes ``count`` symbols from ``symbols[first]`` on, the last one first, the i-th by lane ``i % len(states)``.

    Words go down from ``words[p]``, escapes up from ``escapes[e]``. Stops before a multiple of ``group`` once ``need``
    words are out. Returns the number of symbols left, -1 for other rows, ``p`` and ``e``.
    """
    enough = p - need
    i = count
    lanes = states.size
    lane = i % lanes
    while i > 0 and not (p <= enough and i % group == 0):
        i -= 1
        lane = (lanes if lane == 0 else lane) - 1
        row = row_of(indexes, first + i)
        if not 0 <= row < rows.shape[0]:
            return -1, p, e
        base, offset, escape = wide(rows[row, 0]), wide(rows[row, 1]), wide(rows[row, 2])
        value = wide(symbols[first + i]) - offset
        if value < 0 or value >= escape:
            e = write_escape(fold(value, escape), escapes, e)
            value = escape
        start = wide(cdf[base + value])
        width = wide(cdf[base + value + 1]) - start
        x = states[lane]
        full = x >= width << 32
        words[p - 1] = x & 65535  # also where it is not kept: a branch here would be mispredicted
        p -= wide(full)
        states[lane] = push_state(x >> 16 if full else x, start, width)
    return i, p, e


@kernel()
def begin_string(
    symbols: Any,
    indexes: Any,
    first: int,
    count: int,
    rows: Int32s,
    cdf: Int32s,
    states: Int64s,
    words: Words,
    p: int,
    escapes: Bytes,
    e: int,
    forks: bool,
) -> tuple[int, int, int]:
    """Codes the tail of a string by the first lane, until its words can start the others; as :func:`push_lanes`."""
    states[:] = LANES_LOW
    if not forks:
        return count, p, e
    lanes = states.size
    left, p, e = push_lanes(
        symbols, indexes, first, count, rows, cdf, states[:1], 2 * (lanes - 1), lanes, words, p, escapes, e
    )
    if left > 0:
        for lane in range(1, lanes):
            states[lane] = LANES_LOW | wide(words[p]) << 16 | wide(words[p + 1])
            p += 2
    return left, p, e


@kernel()
def start_string(
    data: Bytes,
    header: int,
    end: int,
    count: int,
    tail: int,
    words: Words,
    at: int,
    cursor: Int64s,
    states: Int64s,
) -> int:
    """Reads the states that stand at ``data[header]`` and copies the words, up to ``data[end]``, to ``words[at:]``.

    There is room for one word more, and below ``at`` for those that a join puts back. Returns how it ended.
    """
    p = header
    for lane in range(states.size):
        x = 0
        for _ in range(3):
            x = x << 16 | wide(data[p]) | wide(data[p + 1]) << 8
            p += 2
        if x < LANES_LOW:
            return BAD_START
        states[lane] = x
    size = (end - p) >> 1
    if LITTLE_ENDIAN:
        copy_bytes(data, p, words, 2 * at, 2 * size)
    else:
        for word in range(size):
            words[at + word] = wide(data[p + 2 * word]) | wide(data[p + 2 * word + 1]) << 8
    words[at + size] = 0
    cursor[WORD], cursor[END], cursor[ESCAPE], cursor[FLOOR] = at, at + size, end, p
    cursor[LANE], cursor[LANES], cursor[ORIGIN] = 0, states.size, p - 2 * at
    cursor[JOIN] = count - tail if tail > 0 else -1
    return FINE


@kernel()
def finish_string(cursor: Int64s, states: Int64s, end: int, escaped: int) -> int:
    """Whether a string that ends at ``data[end]`` was consumed exactly."""
    for lane in range(cursor[LANES]):
        if states[lane] != LANES_LOW:
            return BAD_END
    if cursor[ORIGIN] + 2 * cursor[WORD] != cursor[ESCAPE] or escaped != (cursor[ESCAPE] < end):
        return BAD_END
    return FINE


@kernel()
def join(cursor: Int64s, states: Int64s, words: Words) -> int:
    """Gives back the words that the lanes began with; the first lane goes on alone."""
    p = cursor[WORD] - 2 * (states.size - 1)
    cursor[WORD] = p
    for lane in range(1, states.size):
        x = states[lane]
        if x >> 32 != 1:
            return NOT_MET
        words[p] = x >> 16 & 65535
        words[p + 1] = x & 65535
        p += 2
    cursor[LANES], cursor[LANE], cursor[JOIN] = 1, 0, -1
    return FINE


@kernel()
def push_string(
    symbols: Any,
    indexes: Any,
    first: int,
    count: int,
    rows: Int32s,
    cdf: Int32s,
    states: Int64s,
    words: Words,
    escapes: Bytes,
    forks: bool,
    written: Int64s,
) -> int:
    """Codes a lane string of ``len(states)`` lanes into the end of ``words`` and the start of ``escapes``.

    ``written`` is told how many symbols were coded by all lanes together (0: it did not fork), where the words begin
    and where the escapes end. Returns how it ended.
    """
    lanes = states.size
    left, p, e = begin_string(symbols, indexes, first, count, rows, cdf, states, words, words.size, escapes, 0, forks)
    if left > 0:
        never = 1 << 62
        rest, p, e = push_lanes(symbols, indexes, first, left, rows, cdf, states, never, lanes, words, p, escapes, e)
        left = left if rest == 0 else rest
    written[0], written[1], written[2] = left, p, e
    return FINE if left >= 0 else OTHER_ROWS


@kernel()
def pop_lanes(
    words: Words,
    data: Bytes,
    cursor: Int64s,
    states: Int64s,
    indexes: Any,
    first: int,
    count: int,
    rows: Int32s,
    cdf: Int32s,
    buckets: Int32s,
    out: Any,
) -> int:
    """Decodes ``count`` symbols into ``out[first]`` and on, all by the lanes that there are; returns how it ended.

    Words are read up from ``words[WORD]``, of which the one at END is padding; escapes down from ``data[ESCAPE - 1]``.
    """
    p, end, e, lane, lanes = cursor[WORD], cursor[END], cursor[ESCAPE], cursor[LANE], cursor[LANES]
    for i in range(first, first + count):
        row = row_of(indexes, i)
        if not 0 <= row < rows.shape[0]:
            return OTHER_ROWS
        base = wide(rows[row, 0])
        x = states[lane]
        slot = x & 65535
        at = find_bin(slot, row, cdf, buckets)
        start = wide(cdf[at])
        x = (wide(cdf[at + 1]) - start) * (x >> 16) + slot - start
        low = x < LANES_LOW
        x = (x << 16) | wide(words[p]) if low else x
        p += wide(low)
        if p > end:
            return UNSOUND
        states[lane] = x
        lane += 1
        if lane == lanes:
            lane = 0
        value = at - base
        if value == rows[row, 2]:
            folded, e = read_escape(data, e, cursor[FLOOR])
            if folded < 0:
                return UNSOUND
            value = unfold(folded, wide(rows[row, 2]))
        value += rows[row, 1]
        status = check_symbol(value, out)
        if status != FINE:
            return status
        out[i] = value
    cursor[WORD], cursor[ESCAPE], cursor[LANE] = p, e, lane
    return FINE


@kernel()
def pop_string(
    words: Words,
    data: Bytes,
    cursor: Int64s,
    states: Int64s,
    indexes: Any,
    first: int,
    count: int,
    rows: Int32s,
    cdf: Int32s,
    buckets: Int32s,
    out: Any,
) -> int:
    """Decodes the next ``count`` symbols of a string into ``out[first]`` and on; returns how it ended."""
    done = 0
    while done < count:
        if cursor[JOIN] == 0 and join(cursor, states, words) != FINE:
            return NOT_MET
        step = count - done
        if cursor[JOIN] > 0:
            step = min(step, cursor[JOIN])
        status = pop_lanes(words, data, cursor, states, indexes, first + done, step, rows, cdf, buckets, out)
        if status != FINE:
            return status
        if cursor[JOIN] > 0:
            cursor[JOIN] -= step
        done += step
    return FINE
