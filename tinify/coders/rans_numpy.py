"""The kernels of rANS in numpy and plain Python, for where numba is not: the same bytes, in a hundred times the time.

Functions and their arguments are those of :mod:`tinify.coders.rans_tiny` and :mod:`tinify.coders.rans_lanes`. Steps of
many lanes are taken in numpy, those of one lane in Python.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

import numpy as np
import numpy.typing as npt

from tinify.coders.rans_format import (
    END,
    ESCAPE,
    ESCAPE_BYTES,
    FINE,
    FLOOR,
    JOIN,
    LANE,
    LANES,
    LANES_LOW,
    NOT_MET,
    OTHER_ROWS,
    TINY_LOW,
    TOO_WIDE,
    UNSOUND,
    WORD,
)
from tinify.coders.rans_strings import leb128

Array = npt.NDArray[Any]


def push_tinies(symbols: Array, indexes: Any, count: int, rows: Array, cdf: Array, out: Array, ends: Array) -> int:
    """See :func:`tinify.coders.rans_tiny.push_tinies`."""
    found = _bins(symbols, indexes, 0, symbols.size, rows, cdf)
    if found is None:
        return -1
    starts, widths, escapes = found[0].tolist(), found[1].tolist(), found[2]
    p = out.size
    for item in range(ends.size - 1, -1, -1):
        ends[item] = p
        backwards, x = bytearray(), 0
        for i in range((item + 1) * count - 1, item * count - 1, -1):
            steps = [(starts[i], widths[i])]
            if i in escapes:
                steps = [(byte << 8, 256) for byte in reversed(leb128(escapes[i]))] + steps
            for start, width in steps:
                while x >= width << 32:
                    backwards.append(x & 255)
                    x >>= 8
                x = ((x // width) << 16) + x % width + start
        while x:
            backwards.append(x & 255)
            x >>= 8
        p -= len(backwards)
        out[p : p + len(backwards)] = np.frombuffer(bytes(reversed(backwards)), np.uint8)
    return p


def pop_tinies(
    data: Array, ends: Array, indexes: Any, count: int, rows: Array, cdf: Array, buckets: Array, out: Array
) -> tuple[int, int]:
    """See :func:`tinify.coders.rans_tiny.pop_tinies`."""
    begin, search = 0, _Search(rows, cdf)
    for item, end in enumerate(ends.tolist()):
        if end > begin and data[begin] == 0:
            return UNSOUND, item
        state = [0, begin]
        status = _pop_tiny(data[:end].tobytes(), state, _rows(indexes, item * count, count), search, out, item * count)
        if status == FINE and state != [0, end]:
            status = UNSOUND
        if status != FINE:
            return status, item
        begin = end
    return FINE, ends.size


def pop_tiny(data: Array, state: Array, indexes: Any, rows: Array, cdf: Array, buckets: Array, out: Array) -> int:
    """See :func:`tinify.coders.rans_tiny.pop_tiny`."""
    now = state.tolist()
    status = _pop_tiny(data.tobytes(), now, _rows(indexes, 0, out.size), _Search(rows, cdf), out, 0)
    state[:] = now
    return status


def _pop_tiny(data: bytes, state: list[int], rows: Array, search: _Search, out: Array, first: int) -> int:
    x, p = state

    def refill() -> None:
        nonlocal x, p
        while x < TINY_LOW and p < len(data):
            x = x << 8 | data[p]
            p += 1

    refill()
    for i, row in enumerate(rows.tolist(), first):
        if not 0 <= row < search.count:
            return OTHER_ROWS
        place, start, width, offset, escape = search(row, x & 65535)
        x = width * (x >> 16) + (x & 65535) - start
        refill()
        if place == escape:
            folded, shift, byte = 0, 0, 128
            while byte >= 128:
                if shift == 7 * ESCAPE_BYTES:
                    return UNSOUND
                byte = x >> 8 & 255
                x = x >> 16 << 8 | x & 255
                refill()
                folded |= (byte & 127) << shift
                shift += 7
            place = _unfold(folded, escape)
        status = _put(out, i, place + offset)
        if status != FINE:
            return status
    state[:] = x, p
    return FINE


def push_string(
    symbols: Array,
    indexes: Any,
    first: int,
    count: int,
    rows: Array,
    cdf: Array,
    states: Array,
    words: Array,
    escapes: Array,
    forks: bool,
    written: Array,
) -> int:
    """See :func:`tinify.coders.rans_lanes.push_string`."""
    found = _bins(symbols, indexes, first, count, rows, cdf)
    if found is None:
        return OTHER_ROWS
    starts, widths, far = found
    lanes, left, p, e = states.size, count, words.size, 0
    for i in sorted(far, reverse=True):
        encoded = leb128(far[i])
        escapes[e : e + len(encoded)] = list(encoded[::-1])
        e += len(encoded)
    states[:] = LANES_LOW
    if forks:
        left, p = _push_tail(starts, widths, states, words)
    written[:] = left, p, e
    while left:
        begin = (left - 1) // lanes * lanes  # a string that does not fork may end amid its lanes
        own, start, width = states[: left - begin], starts[begin:left], widths[begin:left]
        full = own >= width << 32
        given = own[full]
        words[p - given.size : p] = given & 65535
        p -= given.size
        own[full] >>= 16
        own[:] = (own // width << 16) + own % width + start
        left = begin
    written[1] = p
    return FINE


def _push_tail(starts: Array, widths: Array, states: Array, words: Array) -> tuple[int, int]:
    """Codes the tail by the first lane and starts the others; returns how many are left and where words begin."""
    lanes, left, x = states.size, starts.size, LANES_LOW
    backwards: list[int] = []
    while left and not (len(backwards) >= 2 * (lanes - 1) and left % lanes == 0):
        left -= 1
        start, width = int(starts[left]), int(widths[left])
        if x >= width << 32:
            backwards.append(x & 65535)
            x >>= 16
        x = ((x // width) << 16) + x % width + start
    states[0] = x
    if left:
        for lane in range(1, lanes):
            states[lane] = LANES_LOW | backwards.pop() << 16 | backwards.pop()
    p = words.size - len(backwards)
    words[p:] = backwards[::-1]
    return left, p


def pop_string(
    words: Array,
    data: Array,
    cursor: Array,
    states: Array,
    indexes: Any,
    first: int,
    count: int,
    rows: Array,
    cdf: Array,
    buckets: Array,
    out: Array,
) -> int:
    """See :func:`tinify.coders.rans_lanes.pop_string`."""
    search, named, done = _Search(rows, cdf), _rows(indexes, first, count), 0
    while done < count:
        if cursor[JOIN] == 0 and _join(cursor, states, words) != FINE:
            return NOT_MET
        lanes, lane = cursor[[LANES, LANE]].tolist()
        step = min(lanes - lane, count - done)  # to where a group of all lanes begins
        if cursor[JOIN] > 0:
            step = min(step, cursor[JOIN])
        elif lanes == 1:
            step = count - done
        pop = _pop_alone if lanes == 1 else _pop_group
        status = pop(words, data, cursor, states, named[done : done + step], search, out, first + done)
        if status != FINE:
            return status
        if cursor[JOIN] > 0:
            cursor[JOIN] -= step
        done += int(step)
    return FINE


def _pop_group(
    words: Array, data: Array, cursor: Array, states: Array, rows: Array, search: _Search, out: Array, first: int
) -> int:
    """Decodes a symbol from each of some consecutive lanes."""
    if not _known(rows, search):
        return OTHER_ROWS
    word, end, escape, floor, lane = cursor[[WORD, END, ESCAPE, FLOOR, LANE]].tolist()
    own = states[lane : lane + rows.size]
    slots = own & 65535
    places, starts, widths, offsets, last = search.many(rows, slots)
    x = widths * (own >> 16) + slots - starts
    low = np.flatnonzero(x < LANES_LOW)
    if word + low.size > end:
        return UNSOUND
    x[low] = x[low] << 16 | words[word : word + low.size]
    values = places + offsets
    for at in np.flatnonzero(places == last).tolist():
        folded, escape = _read_escape(data, escape, floor)
        if folded < 0:
            return UNSOUND
        values[at] = _unfold(folded, int(last[at])) + int(offsets[at])
    for limits, status in ((np.iinfo(np.int32), UNSOUND), (np.iinfo(out.dtype), TOO_WIDE)):
        if not limits.min <= values.min() <= values.max() <= limits.max:
            return status
    own[:] = x
    out[first : first + rows.size] = values
    cursor[WORD], cursor[ESCAPE], cursor[LANE] = word + low.size, escape, (lane + rows.size) % cursor[LANES]
    return FINE


def _pop_alone(
    words: Array, data: Array, cursor: Array, states: Array, rows: Array, search: _Search, out: Array, first: int
) -> int:
    """Decodes symbols from the only lane that is left."""
    x = int(states[0])
    word, end, escape, floor = cursor[[WORD, END, ESCAPE, FLOOR]].tolist()
    for i, row in enumerate(rows.tolist(), first):
        if not 0 <= row < search.count:
            return OTHER_ROWS
        place, start, width, offset, last = search(row, x & 65535)
        x = width * (x >> 16) + (x & 65535) - start
        if x < LANES_LOW:
            if word == end:
                return UNSOUND
            x = x << 16 | int(words[word])
            word += 1
        if place == last:
            folded, escape = _read_escape(data, escape, floor)
            if folded < 0:
                return UNSOUND
            place = _unfold(folded, last)
        status = _put(out, i, place + offset)
        if status != FINE:
            return status
    states[0], cursor[WORD], cursor[ESCAPE] = x, word, escape
    return FINE


def _join(cursor: Array, states: Array, words: Array) -> int:
    rest = states[1:]
    if (rest >> 32 != 1).any():
        return NOT_MET
    cursor[WORD] -= 2 * rest.size
    given = np.stack([rest >> 16 & 65535, rest & 65535], axis=1).reshape(-1)
    words[cursor[WORD] : cursor[WORD] + given.size] = given
    cursor[LANES], cursor[LANE], cursor[JOIN] = 1, 0, -1
    return FINE


class _Search:
    """Finds the bin of a slot: its place in the row, start, width, the row's offset and its escape."""

    def __init__(self, rows: Array, cdf: Array) -> None:
        self.count = len(rows)
        self._rows, self._cdf = rows.astype(np.int64), cdf.astype(np.int64)
        self._lists: dict[int, tuple[list[int], int, int]] = {}
        # Rows one above another, so that one sorted array holds them all.
        above = np.repeat(np.arange(self.count), np.diff(rows[:, 0], append=cdf.size))
        self._sorted = self._cdf + above * 65537

    def __call__(self, row: int, slot: int) -> tuple[int, int, int, int, int]:
        if row not in self._lists:
            base, offset, escape = self._rows[row].tolist()
            self._lists[row] = self._cdf[base : base + escape + 2].tolist(), offset, escape
        cdf, offset, escape = self._lists[row]
        place = bisect_right(cdf, slot) - 1
        return place, cdf[place], cdf[place + 1] - cdf[place], offset, escape

    def many(self, rows: Array, slots: Array) -> tuple[Array, Array, Array, Array, Array]:
        at = np.searchsorted(self._sorted, slots + rows.astype(np.int64) * 65537, side="right") - 1
        base, offset, escape = self._rows[rows].T
        start = self._cdf[at]
        return at - base, start, self._cdf[at + 1] - start, offset, escape


def _rows(indexes: Any, first: int, count: int) -> Array:
    if isinstance(indexes, tuple):
        values, length = indexes
        named: Array = values[np.arange(first, first + count) // length]
        return named
    return np.asarray(indexes[first : first + count])


def _known(rows: Array, search: _Search) -> bool:
    return not rows.size or 0 <= rows.min() <= rows.max() < search.count


def _bins(
    symbols: Array, indexes: Any, first: int, count: int, rows: Array, cdf: Array
) -> tuple[Array, Array, dict[int, int]] | None:
    """Start and width of every symbol's bin, and the folded distance of those that escape; None for other rows."""
    named = _rows(indexes, first, count)
    if named.size and not 0 <= named.min() <= named.max() < len(rows):
        return None
    base, offset, escape = rows.astype(np.int64)[named].T
    values = symbols[first : first + count] - offset
    far = np.flatnonzero((values < 0) | (values >= escape))
    folded = np.where(values < 0, -2 * values - 1, 2 * (values - escape))[far]
    values[far] = escape[far]
    starts = cdf[base + values].astype(np.int64)
    widths = cdf[base + values + 1] - starts
    return starts, widths, dict(zip(far.tolist(), folded.tolist(), strict=True))


def _read_escape(data: Array, at: int, floor: int) -> tuple[int, int]:
    folded, shift, byte = 0, 0, 128
    while byte >= 128:
        if shift == 7 * ESCAPE_BYTES or at <= floor:
            return -1, at
        at -= 1
        byte = int(data[at])
        folded |= (byte & 127) << shift
        shift += 7
    return folded, at


def _unfold(folded: int, escape: int) -> int:
    return -((folded + 1) >> 1) if folded & 1 else escape + (folded >> 1)


def _put(out: Array, at: int, value: int) -> int:
    if not -(2**31) <= value < 2**31:
        return UNSOUND
    if out.itemsize < 4 and not -(2**15) <= value < 2**15:
        return TOO_WIDE
    out[at] = value
    return FINE
