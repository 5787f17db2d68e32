"""A lane string of rANS read a slice at a time on a GPU, as a context model asks for it, by one warp."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from tinify.coders.rans_format import (
    BUCKETS,
    END,
    ESCAPE,
    ESCAPE_BYTES,
    FLOOR,
    JOIN,
    LANE,
    LANES,
    NOT_MET,
    OTHER_ROWS,
    UNSOUND,
    WORD,
)

from .launch import device_of
from .rans import pop_bins, read_escapes


def rans_pop(
    indexes: Tensor,
    data: Tensor,
    words: Tensor,
    cursor: Tensor,
    states: Tensor,
    rows: Tensor,
    cdf: Tensor,
    table: Tensor,
) -> Tensor:
    """See :func:`tinify.ops.rans_pop`."""
    symbols = torch.empty_like(indexes, dtype=torch.int32, memory_format=torch.contiguous_format)
    with device_of(indexes):
        _pop_slice[1,](
            indexes.contiguous(), data, words, cursor, states, rows, cdf, table, symbols, symbols.numel(), len(rows),
            K=len(states), BUCKETS=BUCKETS, LONGEST=ESCAPE_BYTES, num_warps=1,
        )  # fmt: skip
    return symbols


# Parts of the cursor, and what may be wrong, as constants that a kernel can see.
_WORD, _END, _ESCAPE, _FLOOR = (tl.constexpr(part) for part in (WORD, END, ESCAPE, FLOOR))
_LANE, _LANES, _JOIN, _STATUS = (tl.constexpr(part) for part in (LANE, LANES, JOIN, 8))
_OTHER_ROWS, _UNSOUND, _NOT_MET = (tl.constexpr(part) for part in (OTHER_ROWS, UNSOUND, NOT_MET))


@triton.jit
def _steps(
    x, first, stop, lanes, next_lane, word, escape, status,
    indexes, data, words, end, floor, rows, cdf, table, tables, symbols,
    K: tl.constexpr, BUCKETS: tl.constexpr, LONGEST: tl.constexpr,
):  # fmt: skip
    """Pops the symbols from ``first`` to ``stop`` by so many lanes, unless the status speaks against it."""
    lane = tl.arange(0, K)
    fault = tl.zeros([K], tl.int32)
    strange = tl.zeros([K], tl.int32)
    stop = tl.where(status == 0, stop, first)
    while first < stop:
        step = tl.minimum(lanes - next_lane, stop - first)
        there = (lane >= next_lane) & (lane < next_lane + step)
        at = first + lane - next_lane
        row = tl.load(indexes + at, mask=there, other=0)
        known = (row >= 0) & (row < tables)
        strange |= (there & ~known).to(tl.int32)
        row = tl.where(known, row, 0)
        x, symbol, escaped = pop_bins(x, row, there, rows, cdf, table, BUCKETS)
        low = (there & (x < 1 << 32)).to(tl.int32)
        at_word = word + tl.cumsum(low, 0) - low
        inside = (low > 0) & (at_word < end)
        value = tl.load(words + at_word, mask=inside, other=0).to(tl.int64) & 0xFFFF
        x = tl.where(low > 0, x << 16 | value, x)
        fault |= ((low > 0) & ~inside).to(tl.int32)
        word += tl.sum(low, 0)
        if tl.max(escaped, 0) > 0:
            symbol, escape, unsound = read_escapes(symbol, escaped, lane, row, rows, data, escape, floor, K, LONGEST)
            fault |= unsound
        tl.store(symbols + at, symbol.to(tl.int32), mask=there)
        first += step
        next_lane = (next_lane + step) % lanes
    found = tl.where(tl.max(strange, 0) > 0, _OTHER_ROWS, tl.where(tl.max(fault, 0) > 0, _UNSOUND, 0))
    return x, next_lane, word, escape, tl.where(status == 0, found, status)


@triton.jit
def _pop_slice(
    indexes, data, words, cursor, states, rows, cdf, table, symbols, count, tables,
    K: tl.constexpr, BUCKETS: tl.constexpr, LONGEST: tl.constexpr,
):  # fmt: skip
    lane = tl.arange(0, K)
    x = tl.load(states + lane)
    word, end = tl.load(cursor + _WORD), tl.load(cursor + _END)
    escape, floor = tl.load(cursor + _ESCAPE), tl.load(cursor + _FLOOR)
    next_lane, lanes, join = tl.load(cursor + _LANE), tl.load(cursor + _LANES), tl.load(cursor + _JOIN)
    status = tl.load(cursor + _STATUS)
    together = tl.where(join >= 0, tl.minimum(join, count), count)
    x, next_lane, word, escape, status = _steps(
        x, together * 0, together, lanes, next_lane, word, escape, status,
        indexes, data, words, end, floor, rows, cdf, table, tables, symbols, K, BUCKETS, LONGEST,
    )  # fmt: skip
    join = tl.where(join >= 0, join - together, join)
    if together < count:  # the lanes join: all but the first give back the words that they began with
        word -= 2 * (K - 1)
        place = words + word + 2 * (lane - 1)
        tl.store(place, (x >> 16 & 0xFFFF).to(tl.int16), mask=lane > 0)
        tl.store(place + 1, (x & 0xFFFF).to(tl.int16), mask=lane > 0)
        apart = tl.max(((lane > 0) & (x >> 32 != 1)).to(tl.int32), 0)
        status = tl.where((status == 0) & (apart > 0), _NOT_MET, status)
        lanes, next_lane, join = lanes * 0 + 1, next_lane * 0, join * 0 - 1
        tl.debug_barrier()  # the words are read below
        x, next_lane, word, escape, status = _steps(
            x, together, tl.zeros([], tl.int64) + count, lanes, next_lane, word, escape, status,
            indexes, data, words, end, floor, rows, cdf, table, tables, symbols, K, BUCKETS, LONGEST,
        )  # fmt: skip
    tl.store(states + lane, x)
    tl.store(cursor + _WORD, word)
    tl.store(cursor + _ESCAPE, escape)
    tl.store(cursor + _LANE, next_lane)
    tl.store(cursor + _LANES, lanes)
    tl.store(cursor + _JOIN, join)
    tl.store(cursor + _STATUS, status.to(tl.int64))
