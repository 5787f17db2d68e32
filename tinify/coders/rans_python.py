"""rANS a symbol at a time in Python's integers, for :mod:`tinify.coders.rans_numpy`."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from tinify.coders.rans_format import (
    BUCKETS,
    ESCAPE,
    ESCAPE_BYTES,
    FINE,
    LANE,
    LANES_LOW,
    TINY_LOW,
    TOO_WIDE,
    UNSOUND,
    WORD,
)
from tinify.coders.rans_strings import leb128

Array = npt.NDArray[Any]


def push_tiny(steps: Iterable[tuple[int, int, int]]) -> bytes:
    """A tiny string, from the start, width and folded distance (-1: no escape) of its symbols, the last one first."""
    x, backwards = 0, bytearray()
    for start, width, folded in steps:
        if folded >= 0:
            for byte in reversed(leb128(folded)):
                while x >= TINY_LOW:
                    backwards.append(x & 255)
                    x >>= 8
                x = x >> 8 << 16 | byte << 8 | x & 255
        while x >= width << 32:
            backwards.append(x & 255)
            x >>= 8
        x += x // width * (65536 - width) + start
    return x.to_bytes((x.bit_length() + 7) // 8, "big") + backwards[::-1]


def pop_tiny(
    data: Array, state: Array, named: Array, rows: Array, cdf: Array, buckets: Array, out: Array, first: int
) -> int:
    """Decodes symbols of the rows ``named`` into ``out[first]`` and on; returns how it ended."""
    x, p = state.tolist()
    octets, edges, narrowed, end = data.data, cdf.data, buckets.data, data.size
    values: list[int] = []
    status, limits = FINE, np.iinfo(out.dtype)
    while x < TINY_LOW and p < end:
        x = x << 8 | octets[p]
        p += 1
    for bucket, base, offset, escape in _facts(named, rows):
        slot = x & 65535
        near = bucket + (slot >> 8)
        at, last = narrowed[near], narrowed[near + 1]
        if at < last:
            at = bisect_right(edges, slot, at + 1, last + 1) - 1
        start = edges[at]
        x = (edges[at + 1] - start) * (x >> 16) + slot - start
        while x < TINY_LOW and p < end:
            x = x << 8 | octets[p]
            p += 1
        value = at - base
        if value == escape:
            folded, shift, byte = 0, 0, 128
            while byte >= 128 and shift < 7 * ESCAPE_BYTES:
                byte = x >> 8 & 255
                x = x >> 16 << 8 | x & 255
                while x < TINY_LOW and p < end:
                    x = x << 8 | octets[p]
                    p += 1
                folded |= (byte & 127) << shift
                shift += 7
            if byte >= 128:
                status = UNSOUND
                break
            value = unfold(folded, escape)
        value += offset
        if not limits.min <= value <= limits.max:
            status = _misfit(value)
            break
        values.append(value)
    out[first : first + len(values)] = values
    state[:] = x, p
    return status


def push_each(
    starts: Array, widths: Array, states: Array, words: Array, p: int, need: int, group: int
) -> tuple[int, int]:
    """Codes symbols, the last one first; arguments and results are as those of ``rans_lanes.push_lanes``."""
    own, left = states.tolist(), starts.size
    backwards: list[int] = []
    lane = left % len(own)
    for start, width in zip(starts[::-1].tolist(), widths[::-1].tolist(), strict=True):
        if left % group == 0 and len(backwards) >= need:
            break
        left -= 1
        lane = (lane or len(own)) - 1
        x = own[lane]
        if x >= width << 32:
            backwards.append(x & 65535)
            x >>= 16
        own[lane] = x + x // width * (65536 - width) + start
    states[:] = own
    words[p - len(backwards) : p] = backwards[::-1]
    return left, p - len(backwards)


def pop_each(
    words: Array,
    data: Array,
    cursor: Array,
    states: Array,
    named: Array,
    rows: Array,
    cdf: Array,
    buckets: Array,
    out: Array,
    first: int,
) -> int:
    """Decodes symbols of the rows ``named`` into ``out[first]`` and on; returns how it ended."""
    p, end, e, floor, lane, lanes, *_ = cursor.tolist()
    given, edges, narrowed = words.data, cdf.data, buckets.data
    own, status, limits = states.tolist(), FINE, np.iinfo(out.dtype)
    values: list[int] = []
    for bucket, base, offset, escape in _facts(named, rows):
        x = own[lane]
        slot = x & 65535
        near = bucket + (slot >> 8)
        at, last = narrowed[near], narrowed[near + 1]
        if at < last:
            at = bisect_right(edges, slot, at + 1, last + 1) - 1
        start = edges[at]
        x = (edges[at + 1] - start) * (x >> 16) + slot - start
        if x < LANES_LOW:
            if p == end:
                status = UNSOUND
                break
            x = x << 16 | given[p]
            p += 1
        own[lane] = x
        lane += 1
        if lane == lanes:
            lane = 0
        value = at - base
        if value == escape:
            folded, e = pop_escape(data, e, floor)
            if folded < 0:
                status = UNSOUND
                break
            value = unfold(folded, escape)
        value += offset
        if not limits.min <= value <= limits.max:
            status = _misfit(value)
            break
        values.append(value)
    states[:] = own
    out[first : first + len(values)] = values
    cursor[WORD], cursor[ESCAPE], cursor[LANE] = p, e, lane
    return status


def _facts(named: Array, rows: Array) -> Iterator[tuple[int, int, int, int]]:
    """Of each symbol's row: where its buckets begin, and its bins, its offset and its escape."""
    base, offset, escape = rows[named].T.tolist()
    return zip((named * (BUCKETS + 1)).tolist(), base, offset, escape, strict=True)


def pop_escape(data: Array, e: int, floor: int) -> tuple[int, int]:
    """Reads an escape, as :func:`tinify.coders.rans_kernels.read_escape`."""
    folded, shift, byte = 0, 0, 128
    while byte >= 128:
        if shift == 7 * ESCAPE_BYTES or e <= floor:
            return -1, e
        e -= 1
        byte = int(data[e])
        folded |= (byte & 127) << shift
        shift += 7
    return folded, e


def unfold(folded: int, escape: int) -> int:
    """The value of a folded distance, as :func:`tinify.coders.rans_kernels.unfold`."""
    return -((folded + 1) >> 1) if folded & 1 else escape + (folded >> 1)


def _misfit(value: int) -> int:
    """Why an output cannot hold a value."""
    return TOO_WIDE if -(2**31) <= value < 2**31 else UNSOUND
