"""rANS on a GPU: a chunk of a string is one warp's work, a lane a thread's; specs/FORMAT.md says what is written.

Strings are those of the layout for many processors: 32 lanes that all begin at once, in chunks. Writers and readers
give and take the same bytes as those of :mod:`tinify.coders`. Short strings, and those of other layouts, are left to
these.
"""

from __future__ import annotations

from inspect import unwrap
from itertools import pairwise

import torch
import triton
import triton.language as tl
from torch import Tensor

from tinify import ops
from tinify.coders.rans import GPU, TINY_LIMIT
from tinify.coders.rans_format import BUCKETS, ESCAPE_BYTES
from tinify.coders.rans_strings import CHUNKED, chunk_lengths, corrupt, leb128
from tinify.errors import InputError

from .launch import blocks, device_of

_LANES = GPU.lanes
_FLAGS = (_LANES.bit_length() - 1) << 2
_HEADER = 1 + 6 * _LANES
_ESCAPED = 1 << 6
_COPIED = 2048
# How a chunk ends: well; an index of no row; damage; a layout that is not for this reader.
_OTHER_ROWS, _DAMAGED, _OTHER_LAYOUT = 1, 2, 3


def rans_encode(symbols: Tensor, indexes: Tensor, rows: Tensor, cdf: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
    """See :func:`tinify.ops.rans_encode`."""
    items, count = symbols.shape
    if count <= TINY_LIMIT or not items:
        found: tuple[Tensor, Tensor] = unwrap(ops.rans_encode)(symbols, indexes, rows, cdf, chunk)
        return found
    chunk = min(chunk, count)
    each = blocks(count, chunk)
    parts = items * each
    words = symbols.new_empty((parts, chunk), dtype=torch.int16)
    escapes = symbols.new_empty((parts, ESCAPE_BYTES * chunk), dtype=torch.uint8)
    states = symbols.new_empty((parts, _LANES), dtype=torch.int64)
    written = symbols.new_empty((3, parts), dtype=torch.int32)
    with device_of(symbols):
        _encode[parts,](
            symbols.contiguous(), indexes.contiguous(), rows, cdf, words, escapes, states, written,
            count, chunk, each, len(rows), parts, K=_LANES, num_warps=1,
        )  # fmt: skip
        begun, escaped, status = written.long()
        if int(status.max()):
            raise _other_rows(len(rows))
        data, begins, ends = _place((_HEADER + 2 * (chunk - begun) + escaped).view(items, each), chunk)
        _compose[parts,](
            words, escapes, states, written, begins, data, chunk, parts,
            K=_LANES, FLAGS=_FLAGS, ESCAPED=_ESCAPED, LONGEST=ESCAPE_BYTES, BLOCK=_COPIED,
        )  # fmt: skip
    return data, ends


def rans_decode(data: Tensor, ends: Tensor, indexes: Tensor, rows: Tensor, cdf: Tensor, table: Tensor) -> Tensor:
    """See :func:`tinify.ops.rans_decode`."""
    items, count = indexes.shape
    layout = _layout(data, ends, count) if count > TINY_LIMIT and len(table) else None
    if layout:
        begins, stops, chunk = layout[0].to(indexes.device), layout[1].to(indexes.device), layout[2]
        data = data.to(indexes.device)
        parts = len(begins)
        symbols = torch.empty_like(indexes, dtype=torch.int32, memory_format=torch.contiguous_format)
        status = torch.empty_like(begins, dtype=torch.int32)
        with device_of(indexes):
            _decode[parts,](
                data, begins, stops, indexes.contiguous(), rows, cdf, table, symbols, status,
                count, chunk, parts // items, len(rows),
                K=_LANES, FLAGS=_FLAGS, ESCAPED=_ESCAPED, BUCKETS=BUCKETS, LONGEST=ESCAPE_BYTES, num_warps=1,
            )  # fmt: skip
        worst = int(status.max())
        if worst == _OTHER_ROWS:
            raise _other_rows(len(rows))
        if worst == _DAMAGED:
            corrupt(len(data), "it does not end with its last symbol")
        if not worst:
            return symbols
    found: Tensor = unwrap(ops.rans_decode)(data, ends, indexes, rows, cdf, table)
    return found


def _other_rows(count: int) -> InputError:
    return InputError(f"indexes of rows that are none: the tables have {count}")


def _place(sizes: Tensor, chunk: int) -> tuple[Tensor, Tensor, Tensor]:
    """The bytes of all strings, their headers written; where each chunk begins; where each string ends."""
    each = sizes.shape[1]
    lengths, device = sizes[:, :-1], sizes.device
    digits = sum(((lengths >= 1 << 7 * place).long() for place in (1, 2, 3)), torch.ones_like(lengths))
    first = torch.tensor([CHUNKED, *leb128(chunk)] if each > 1 else [], dtype=torch.uint8, device=device)
    head = len(first) + digits.sum(1)
    ends = (head + sizes.sum(1)).cumsum(0)
    starts = torch.cat([ends.new_zeros(1), ends[:-1]])[:, None]
    data = torch.empty(int(ends[-1]), dtype=torch.uint8, device=device)
    data[starts + torch.arange(len(first), device=device)] = first
    at = starts + len(first) + digits.cumsum(1) - digits
    for place in range(4):
        there = digits > place
        byte = (lengths >> 7 * place) & 127 | torch.where(digits > place + 1, 128, 0)
        data[(at + place)[there]] = byte[there].to(torch.uint8)
    begins = starts + head[:, None] + sizes.cumsum(1) - sizes
    return data, begins.flatten(), ends


def _layout(data: Tensor, ends: Tensor, count: int) -> tuple[Tensor, Tensor, int] | None:
    """Where chunks begin and end, and their symbols; None for another layout. Headers alone come to the CPU."""
    sizes, stops, chunks = [], [], set()
    for begin, end in pairwise([0, *ends.tolist()]):
        head = data[begin : min(end, begin + 10)].cpu().numpy().tobytes()
        if head[:1] != bytes([CHUNKED]):
            chunk, at, lengths = count, 0, [end - begin]
        else:
            # A length is below five bytes a symbol and has at most nine of its own; most have two.
            room = 10 + 9 * (1 + count // max(1, int.from_bytes(head[1:2], "little") & 127))
            head = data[begin : min(end, begin + room)].cpu().numpy().tobytes()
            chunk, at, lengths = chunk_lengths(head, 0, end - begin, count)
        chunks.add(chunk)
        sizes.append(torch.tensor(lengths))
        stops.append(begin + at + sizes[-1].cumsum(0))
    every, ends_of_all = torch.cat(sizes), torch.cat(stops)
    if len(chunks) != 1 or int(every.min()) < _HEADER:
        return None
    return ends_of_all - every, ends_of_all, chunks.pop()


@triton.jit
def _encode(
    symbols, indexes, rows, cdf, words, escapes, states, written, count, chunk, each, tables, parts, K: tl.constexpr
):
    part = tl.program_id(0).to(tl.int64)
    from_symbol = (part % each) * chunk
    own = tl.minimum(chunk, count - from_symbol).to(tl.int32)
    symbols += (part // each) * count + from_symbol
    indexes += (part // each) * count + from_symbol
    words += part * chunk
    escapes += part * chunk * 5
    lane = tl.arange(0, K)
    x = tl.full([K], 1 << 32, tl.int64)
    word, escape, strange = chunk, 0, tl.zeros([K], tl.int32)
    groups = (own + K - 1) // K
    for turn in range(0, groups):
        at = (groups - 1 - turn) * K + lane
        there = at < own
        row = tl.load(indexes + at, mask=there, other=0)
        known = (row >= 0) & (row < tables)
        strange |= (there & ~known).to(tl.int32)
        row = tl.where(known, row, 0)
        base, offset, last = tl.load(rows + 3 * row), tl.load(rows + 3 * row + 1), tl.load(rows + 3 * row + 2)
        value = tl.load(symbols + at, mask=there, other=0).to(tl.int64) - offset
        outside = there & ((value < 0) | (value >= last))
        bin = base + tl.where(outside | ~there, last, value).to(tl.int32)
        start = tl.load(cdf + bin).to(tl.int64)
        width = tl.load(cdf + bin + 1).to(tl.int64) - start
        full = (there & (x >= width << 32)).to(tl.int32)
        out = tl.sum(full, 0)
        word -= out
        tl.store(words + word + tl.cumsum(full, 0) - full, (x & 0xFFFF).to(tl.int16), mask=full > 0)
        x = tl.where(full > 0, x >> 16, x)
        quotient = (x.to(tl.float64) / width.to(tl.float64)).to(tl.int64)  # exact: see tinify.coders
        x = tl.where(there, x + quotient * (65536 - width) + start, x)
        if tl.max(outside.to(tl.int32), 0) > 0:
            folded = tl.where(value < 0, -2 * value - 1, 2 * (value - last))
            size = 1 + (folded >= 1 << 7) + (folded >= 1 << 14) + (folded >= 1 << 21) + (folded >= 1 << 28)
            size = tl.where(outside, size, 0).to(tl.int32)
            every = tl.sum(size, 0)
            after = every - tl.cumsum(size, 0)  # the bytes of later symbols stand before
            for place in tl.static_range(5):
                byte = (folded >> (7 * place)) & 127 | tl.where(place < size - 1, 128, 0)
                tl.store(escapes + escape + after + size - 1 - place, byte.to(tl.uint8), mask=place < size)
            escape += every
    tl.store(states + part * K + lane, x)
    tl.store(written + part, word)
    tl.store(written + parts + part, escape)
    tl.store(written + 2 * parts + part, tl.max(strange, 0))


@triton.jit
def _compose(
    words, escapes, states, written, begins, data, chunk, parts,
    K: tl.constexpr, FLAGS: tl.constexpr, ESCAPED: tl.constexpr, LONGEST: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    part = tl.program_id(0).to(tl.int64)
    data += tl.load(begins + part)
    word, escape = tl.load(written + part), tl.load(written + parts + part)
    tl.store(data, (FLAGS + tl.where(escape > 0, ESCAPED, 0)).to(tl.uint8))
    lane = tl.arange(0, K)
    x = tl.load(states + part * K + lane)
    for place in tl.static_range(3):
        part_of_state = x >> (16 * (2 - place))
        tl.store(data + 1 + 6 * lane + 2 * place, (part_of_state & 255).to(tl.uint8))
        tl.store(data + 2 + 6 * lane + 2 * place, (part_of_state >> 8 & 255).to(tl.uint8))
    data += 1 + 6 * K
    size = chunk - word
    for begin in range(0, size, BLOCK):
        at = begin + tl.arange(0, BLOCK)
        pair = tl.load(words + part * chunk + word + at, mask=at < size, other=0).to(tl.int32)
        tl.store(data + 2 * at, (pair & 255).to(tl.uint8), mask=at < size)
        tl.store(data + 2 * at + 1, (pair >> 8 & 255).to(tl.uint8), mask=at < size)
    data += 2 * size
    for begin in range(0, escape, BLOCK):
        at = begin + tl.arange(0, BLOCK)
        byte = tl.load(escapes + part * chunk * LONGEST + at, mask=at < escape, other=0)
        tl.store(data + at, byte, mask=at < escape)


@triton.jit
def pop_bins(x, row, there, rows, cdf, table, BUCKETS: tl.constexpr):
    """The bin of each lane's slot: the state after it, and the symbol less its row's offset."""
    slot = x & 0xFFFF
    entry = tl.load(table + row * BUCKETS + (slot >> 8), mask=there, other=0)
    parted = there & ((entry & 0xFFFFFFFF) == 0) & (entry != 0)
    entry = tl.where(parted, tl.load(table + (entry >> 32) + (slot >> 4 & 15), mask=parted, other=0), entry)
    start, first, second = entry & 0xFFFF, entry >> 16 & 0xFFFF, entry >> 32 & 0xFFFF
    beyond = slot - start >= first
    width = tl.where(beyond, second, first)
    below = slot - start - tl.where(beyond, first, 0)
    symbol = (entry >> 48) + beyond.to(tl.int64)
    lost = there & (entry == 0)
    escaped = tl.zeros_like(slot)
    if tl.max(lost.to(tl.int32), 0) > 0:
        base = tl.load(rows + 3 * row, mask=lost, other=0).to(tl.int64)
        offset = tl.load(rows + 3 * row + 1, mask=lost, other=0).to(tl.int64)
        last = tl.load(rows + 3 * row + 2, mask=lost, other=0).to(tl.int64)
        low, high = base, base + last
        while tl.max((low < high).to(tl.int32), 0) > 0:
            middle = (low + high + 1) >> 1
            under = tl.load(cdf + middle, mask=lost, other=0) <= slot
            low, high = tl.where((low < high) & under, middle, low), tl.where((low < high) & ~under, middle - 1, high)
        start = tl.load(cdf + low, mask=lost, other=0).to(tl.int64)
        width = tl.where(lost, tl.load(cdf + low + 1, mask=lost, other=1).to(tl.int64) - start, width)
        below = tl.where(lost, slot - start, below)
        symbol = tl.where(lost, low - base + offset, symbol)
        escaped = (lost & (low - base == last)).to(tl.int64)
    return tl.where(there, width * (x >> 16) + below, x), symbol, escaped


@triton.jit
def read_escapes(symbol, escaped, lane, row, rows, data, escape, floor, K: tl.constexpr, LONGEST: tl.constexpr):
    """The symbols with those that are escaped, in the order of the lanes; where the next escape ends; damage."""
    damaged = tl.zeros([K], tl.int32)
    waiting = escaped > 0
    while tl.max(waiting.to(tl.int32), 0) > 0:
        next_lane = tl.min(tl.where(waiting, lane, K), 0)
        folded, shift, piece = tl.zeros([], tl.int64), tl.zeros([], tl.int64), tl.full([], 128, tl.int64)
        while piece >= 128:
            escape -= 1
            readable = (escape >= floor) & (shift < 7 * LONGEST)
            piece = tl.load(data + tl.maximum(escape, 0)).to(tl.int64)
            piece = tl.where(readable, piece, 0)
            folded |= (piece & 127) << shift
            shift += 7
            damaged |= tl.where((lane == next_lane) & ~readable, 1, 0)
        offset, last = tl.load(rows + 3 * row + 1).to(tl.int64), tl.load(rows + 3 * row + 2).to(tl.int64)
        value = tl.where((folded & 1) > 0, -((folded + 1) >> 1), last + (folded >> 1)) + offset
        symbol = tl.where(lane == next_lane, value, symbol)
        waiting &= lane != next_lane
    return symbol, escape, damaged | ((symbol < -2147483648) | (symbol > 2147483647)).to(tl.int32)


@triton.jit
def _decode(
    data, begins, stops, indexes, rows, cdf, table, symbols, status, count, chunk, each, tables,
    K: tl.constexpr, FLAGS: tl.constexpr, ESCAPED: tl.constexpr, BUCKETS: tl.constexpr, LONGEST: tl.constexpr,
):  # fmt: skip
    part = tl.program_id(0).to(tl.int64)
    begin, stop = tl.load(begins + part), tl.load(stops + part)
    from_symbol = (part % each) * chunk
    own = tl.minimum(chunk, count - from_symbol).to(tl.int32)
    symbols += (part // each) * count + from_symbol
    indexes += (part // each) * count + from_symbol
    lane = tl.arange(0, K)
    flags = tl.load(data + begin).to(tl.int32)
    found = tl.where((flags & ~ESCAPED) == FLAGS, 0, 3)
    x = tl.zeros([K], tl.int64)
    for place in tl.static_range(3):
        head = data + begin + 1 + 6 * lane + 2 * place
        x = x << 16 | tl.load(head).to(tl.int64) | tl.load(head + 1).to(tl.int64) << 8
    damaged = ((x < 1 << 32) & (found == 0)).to(tl.int32)
    strange = tl.zeros([K], tl.int32)
    word, escape = begin + 1 + 6 * K, stop
    groups = tl.where(found == 0, (own + K - 1) // K, 0)
    for group in range(0, groups):
        at = group * K + lane
        there = at < own
        row = tl.load(indexes + at, mask=there, other=0)
        known = (row >= 0) & (row < tables)
        strange |= (there & ~known).to(tl.int32)
        row = tl.where(known, row, 0)
        x, symbol, escaped = pop_bins(x, row, there, rows, cdf, table, BUCKETS)
        low = (there & (x < 1 << 32)).to(tl.int32)
        at_word = word + 2 * (tl.cumsum(low, 0) - low)
        inside = (low > 0) & (at_word + 2 <= escape)
        value = tl.load(data + at_word, mask=inside, other=0).to(tl.int64)
        value |= tl.load(data + at_word + 1, mask=inside, other=0).to(tl.int64) << 8
        x = tl.where(low > 0, x << 16 | value, x)
        damaged |= ((low > 0) & ~inside).to(tl.int32)
        word += 2 * tl.sum(low, 0)
        if tl.max(escaped, 0) > 0:
            symbol, escape, unsound = read_escapes(symbol, escaped, lane, row, rows, data, escape, word, K, LONGEST)
            damaged |= unsound
        tl.store(symbols + at, symbol.to(tl.int32), mask=there)
    damaged |= (x != 1 << 32).to(tl.int32)
    ended = (word == escape) & (((flags & ESCAPED) != 0) == (escape < stop))
    bad = (tl.max(damaged, 0) > 0) | ~ended
    found = tl.where((found == 0) & bad, 2, found)
    tl.store(status + part, tl.where(tl.max(strange, 0) > 0, 1, found))
