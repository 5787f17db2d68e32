"""The kernels of rANS in numpy and plain Python, for where numba is not: the same bytes, in 20 to 60 times the time.

Functions and their arguments, results and effects are those of :mod:`tinify.coders.rans_tiny` and
:mod:`tinify.coders.rans_lanes`. Bins are looked up in numpy, many symbols at once. The states of many lanes step in
numpy too, those of few in Python's integers; so do those of a damaged string, to stop at the very symbol that the
compiled kernels stop at.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from tinify.coders import rans_python
from tinify.coders.rans_format import (
    BAD_END,
    BAD_START,
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
from tinify.coders.rans_strings import leb128

Array = npt.NDArray[Any]
_BLOCK = 1 << 14
"""About how many symbols are looked up at once: so many stay in the processor's cache."""
_MANY = 16
"""From so many lanes on a step in numpy takes less time than one in Python for each."""


def push_tinies(symbols: Array, indexes: Any, count: int, rows: Array, cdf: Array, out: Array, ends: Array) -> int:
    """See :func:`tinify.coders.rans_tiny.push_tinies`."""
    p, together = out.size, max(1, _BLOCK // max(count, 1))
    for stop in range(ends.size, 0, -together):
        start = max(0, stop - together)
        bins = _bins(symbols, indexes, start * count, (stop - start) * count, rows, cdf)
        if bins is None:
            return -1
        steps = _backwards(*bins)
        for item in range(stop - 1, start - 1, -1):
            ends[item] = p
            string = rans_python.push_tiny(islice(steps, count))
            out[p - len(string) : p] = np.frombuffer(string, np.uint8)
            p -= len(string)
    return p


def pop_tinies(
    data: Array, ends: Array, indexes: Any, count: int, rows: Array, cdf: Array, buckets: Array, out: Array
) -> tuple[int, int]:
    """See :func:`tinify.coders.rans_tiny.pop_tinies`."""
    begin, state = 0, np.zeros(2, np.int64)
    for item, end in enumerate(ends.tolist()):
        if end > begin and data[begin] == 0:
            return UNSOUND, item
        state[:] = 0, begin
        status = _pop_tiny(data[:end], state, indexes, item * count, count, rows, cdf, buckets, out)
        if status == FINE and state.tolist() != [0, end]:
            status = UNSOUND
        if status != FINE:
            return status, item
        begin = end
    return FINE, ends.size


def push_tiny(symbols: Array, indexes: Array, rows: Array, cdf: Array, out: Array) -> int:
    """See :func:`tinify.coders.rans_tiny.push_tiny`."""
    return push_tinies(symbols, indexes, symbols.size, rows, cdf, out, np.empty(1, np.int64))


def pop_tiny(
    data: Array, x: int, p: int, indexes: Any, rows: Array, cdf: Array, buckets: Array, out: Array
) -> tuple[int, int, int]:
    """See :func:`tinify.coders.rans_tiny.pop_tiny`."""
    state = np.array([x, p])
    status = _pop_tiny(data, state, indexes, 0, indexes.size, rows, cdf, buckets, out)
    return status, *state.tolist()


def _pop_tiny(
    data: Array, state: Array, indexes: Any, first: int, count: int, rows: Array, cdf: Array, buckets: Array, out: Array
) -> int:
    named = _named(indexes, first, count, rows)
    status = rans_python.pop_tiny(data, state, named, rows, cdf, buckets, out, first)
    return OTHER_ROWS if status == FINE and named.size < count else status


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
    lanes, left, together, p, e = states.size, count, 0 if forks else count, words.size, 0
    enough = p - 2 * (lanes - 1)
    states[:] = LANES_LOW
    while left:
        begin = _block_before(left, lanes)
        bins = _bins(symbols, indexes, first + begin, left - begin, rows, cdf)
        if bins is None:
            written[:] = -1, p, e
            return OTHER_ROWS
        starts, widths, folded = bins
        e = _push_escapes(folded, escapes, e)
        left -= begin
        if not together:  # the tail
            left, p = rans_python.push_each(starts, widths, states[:1], words, p, p - enough, lanes)
            if left and lanes > 1:
                given = words[p : p + 2 * (lanes - 1)].astype(np.int64)
                states[1:] = LANES_LOW | given[::2] << 16 | given[1::2]
                p += given.size
            together = begin + left if left else 0
        whole = left // lanes * lanes if lanes >= _MANY else 0
        _, p = rans_python.push_each(starts[whole:left], widths[whole:left], states, words, p, left + 1, lanes)
        p = _push_groups(starts[:whole], widths[:whole], states, words, p)
        left = begin
    written[:] = together, p, e
    return FINE


def _push_groups(starts: Array, widths: Array, states: Array, words: Array, p: int) -> int:
    """Codes a symbol by every lane, again and again; returns where the words begin."""
    shape = -1, states.size
    starts, widths = starts.reshape(shape), widths.reshape(shape)
    lows, full = np.empty(starts.shape, np.uint16), np.empty(starts.shape, np.bool_)
    parts = starts, widths, 65536 - widths, widths << 32, lows, full
    shift, quotient = np.empty_like(states), np.empty_like(states)
    for start, width, rest, limit, low, over in zip(*(part[::-1] for part in parts), strict=True):
        low[:] = states
        np.greater_equal(states, limit, out=over)
        np.left_shift(over, 4, out=shift)
        np.right_shift(states, shift, out=states)
        np.floor_divide(states, width, out=quotient)
        np.multiply(quotient, rest, out=quotient)
        np.add(quotient, start, out=quotient)
        np.add(states, quotient, out=states)
    given = lows[full]
    words[p - given.size : p] = given
    return p - int(given.size)


def _push_escapes(folded: Array, escapes: Array, e: int) -> int:
    encoded = b"".join(leb128(value)[::-1] for value in folded[folded >= 0][::-1].tolist())
    escapes[e : e + len(encoded)] = np.frombuffer(encoded, np.uint8)
    return e + len(encoded)


def start_string(
    data: Array, header: int, end: int, count: int, tail: int, words: Array, at: int, cursor: Array, states: Array
) -> int:
    """See :func:`tinify.coders.rans_lanes.start_string`."""
    first = header + 6 * states.size
    parts = data[header:first].copy().view("<u2").astype(np.int64)
    states[:] = parts[::3] << 32 | parts[1::3] << 16 | parts[2::3]
    if (states < LANES_LOW).any():
        return BAD_START
    size = (end - first) // 2
    words[at : at + size] = data[first : first + 2 * size].copy().view("<u2")
    words[at + size] = 0
    cursor[:] = at, at + size, end, first, 0, states.size, count - tail if tail else -1, first - 2 * at
    return FINE


def finish_string(cursor: Array, states: Array, end: int, escaped: int) -> int:
    """See :func:`tinify.coders.rans_lanes.finish_string`."""
    used = cursor[ORIGIN] + 2 * cursor[WORD] == cursor[ESCAPE]
    sound = used and escaped == (cursor[ESCAPE] < end) and (states[: cursor[LANES]] == LANES_LOW).all()
    return FINE if sound else BAD_END


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
    done = 0
    while done < count:
        if cursor[JOIN] == 0 and _join(cursor, states, words) != FINE:
            return NOT_MET
        step = count - done
        if cursor[JOIN] > 0:
            step = min(step, int(cursor[JOIN]))
        status = _pop_lanes(words, data, cursor, states, indexes, first + done, step, rows, cdf, buckets, out)
        if status != FINE:
            return status
        if cursor[JOIN] > 0:
            cursor[JOIN] -= step
        done += step
    return FINE


def _join(cursor: Array, states: Array, words: Array) -> int:
    p = cursor[WORD] = int(cursor[WORD]) - 2 * (states.size - 1)
    for x in states[1:].tolist():
        if x >> 32 != 1:
            return NOT_MET
        words[p : p + 2] = x >> 16 & 65535, x & 65535
        p += 2
    cursor[LANES], cursor[LANE], cursor[JOIN] = 1, 0, -1
    return FINE


def _pop_lanes(
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
    """See :func:`tinify.coders.rans_lanes.pop_lanes`."""
    place, lanes, done = cursor.copy(), int(cursor[LANES]), 0
    # A search is made anew in every call; for every 32 entries of the tables that takes the time of about one symbol.
    search = _Search(rows, cdf) if lanes >= _MANY and count >= max(4 * lanes, cdf.size // 32) else None
    while done < count:
        ragged = -int(place[LANE]) % lanes
        step = min(count - done, ragged or _BLOCK // lanes * lanes)
        named = _named(indexes, first + done, step, rows)
        begin, whole = first + done, 0
        if search and not ragged:
            whole = named.size // lanes * lanes
            if whole and not _pop_groups(words, data, place, states, named[:whole], search, out, begin):
                whole = 0  # it ends in there
        status = rans_python.pop_each(words, data, place, states, named[whole:], rows, cdf, buckets, out, begin + whole)
        if status == FINE and named.size < step:
            status = OTHER_ROWS
        if status != FINE:
            return status
        done += step
    cursor[:] = place
    return FINE


def _pop_groups(
    words: Array, data: Array, cursor: Array, states: Array, named: Array, search: _Search, out: Array, first: int
) -> bool:
    """Decodes a symbol from every lane, again and again; False, and nothing is done, if the string ends in there."""
    p, end, e, floor = cursor[: FLOOR + 1].tolist()
    lanes, x = states.size, states.copy()
    keys = (named << 17).reshape(-1, lanes)
    ahead = words[p : min(end, p + named.size)].astype(np.int64)
    taken, found, slot = 0, np.empty(keys.shape, np.int64), np.empty_like(x)
    for key, after in zip(keys, found, strict=True):
        np.bitwise_and(x, 65535, out=slot)
        np.add(slot, key, out=slot)
        after[:] = search.keys.searchsorted(slot, "right")
        np.subtract(slot, search.starts.take(after), out=slot)
        np.right_shift(x, 16, out=x)
        np.multiply(x, search.widths.take(after), out=x)
        np.add(x, slot, out=x)
        low = (x < LANES_LOW).nonzero()[0]
        if low.size:
            more = ahead[taken : taken + low.size]
            if more.size < low.size:
                return False
            x[low] = x[low] << 16 | more
            taken += low.size
    base, offset, escape = search.rows[named].T
    values = found.reshape(-1) - 1 - base
    for at in (values == escape).nonzero()[0].tolist():
        folded, e = rans_python.pop_escape(data, e, floor)
        if folded < 0:
            return False
        values[at] = rans_python.unfold(folded, int(escape[at]))
    values += offset
    limits = np.iinfo(out.dtype)
    if values.size and not limits.min <= values.min() <= values.max() <= limits.max:
        return False
    out[first : first + values.size] = values
    states[:] = x
    cursor[WORD], cursor[ESCAPE] = p + taken, e
    return True


class _Search:
    """The bins of all rows as one sorted array, so that one search finds those of many lanes.

    A search gives the entry after the one looked for; ``starts`` and ``widths`` stand where it points.
    """

    def __init__(self, rows: Array, cdf: Array) -> None:
        self.rows = rows.astype(np.int64)
        row = np.repeat(np.arange(len(rows), dtype=np.int64), self.rows[:, 2] + 2)
        self.keys = cdf + (row << 17)
        self.starts = np.append(0, self.keys)
        self.widths = np.append(0, np.append(np.diff(cdf.astype(np.int64)), 0))


def _block_before(left: int, lanes: int) -> int:
    """Where a block begins that ends before symbol ``left``: at a multiple of the lanes."""
    size = -(-_BLOCK // lanes) * lanes
    return (left - 1) // size * size


def _named(indexes: Any, first: int, count: int, rows: Array) -> Array:
    """The rows of some symbols as int64, up to the first that has none."""
    if isinstance(indexes, tuple):
        values, length = indexes
        named = values[np.arange(first, first + count) // length].astype(np.int64)
    else:
        named = indexes[first : first + count].astype(np.int64)
    wrong = ((named < 0) | (named >= len(rows))).nonzero()[0]
    sound: Array = named[: wrong[0]] if wrong.size else named
    return sound


def _bins(
    symbols: Array, indexes: Any, first: int, count: int, rows: Array, cdf: Array
) -> tuple[Array, Array, Array] | None:
    """Of each symbol: its bin's start and width, and its folded distance, -1 for no escape; None for other rows."""
    named = _named(indexes, first, count, rows)
    if named.size < count:
        return None
    base, offset, escape = rows[named].T.astype(np.int64)
    values = symbols[first : first + count] - offset
    far = ((values < 0) | (values >= escape)).nonzero()[0]
    folded = np.full(count, -1, np.int64)
    folded[far] = np.where(values < 0, -2 * values - 1, 2 * (values - escape))[far]
    values[far] = escape[far]
    at = base + values
    starts = cdf[at].astype(np.int64)
    return starts, cdf[at + 1] - starts, folded


def _backwards(*bins: Array) -> Iterator[tuple[int, int, int]]:
    starts, widths, folded = (part[::-1].tolist() for part in bins)
    return zip(starts, widths, folded, strict=True)
