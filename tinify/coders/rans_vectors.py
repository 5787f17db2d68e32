"""The inner loops of rANS over eight lanes at once, to the bytes of :mod:`tinify.coders.rans_kernels`.

For processors with AVX-512 (with VBMI2, for words that are packed and spread by a mask); elsewhere, and for tables that
do not fit the packed form, the scalar kernels do the work.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba as nb
import numpy as np
import numpy.typing as npt

from tinify.coders import rans_kernels as scalar
from tinify.coders.rans_kernels import BUCKETS, ESCAPE_BYTES, Bytes, Int32s, Int64s, Words, kernel, types, wide
from tinify.coders.tables import CdfTables
from tinify.coders.vector_code import ESCAPED, WIDTH, load, look, pop, push, refine, store

SUB = 16
"""Parts of a bucket that more than two bins share."""

# Kernels call these by plain names: numba looks through no module.
_bin, _fold, _unfold, _top_shift = scalar._bin, scalar._fold, scalar._unfold, scalar._top_shift
_array, _INPUT, _ROWS = scalar._array, scalar._INPUT, scalar._ROWS


@dataclass(frozen=True)
class Packed:
    """Tables as the vector kernels want them: one gather finds what a step needs."""

    rows: npt.NDArray[np.uint64]
    """Of each row: where it begins in ``entries``, minus its offset << 32, its escape bin << 48."""
    entries: npt.NDArray[np.uint32]
    """Of each bin: start, width << 16."""
    table: npt.NDArray[np.uint64]
    """Of each bucket of 256 slots: start, two widths and the first symbol; or, of three bins and more, where its 16
    parts stand, further on in the same form; or zeros, where only a search finds the bin."""
    found: npt.NDArray[np.uint64]
    """Of each bin: start, width and symbol, for those that were searched."""


def pack(tables: CdfTables) -> Packed | None:
    """The packed form of tables, None for those that do not fit it."""
    low, high = tables.offsets.min(), (tables.offsets + tables.sizes).max()
    if low < -(2**15) + 1 or tables.offsets.max() > 0 or high >= 2**15 or tables.sizes.min() < 3:
        return None  # a row of one bin has a width that needs 17 bits
    cdfs = [row[:size].astype(np.int64) for row, size in zip(tables.cdfs, tables.sizes, strict=True)]
    bases = np.cumsum(tables.sizes) - tables.sizes
    rows = bases.astype(np.uint64) | (-tables.offsets).astype(np.uint64) << np.uint64(32)
    rows |= (tables.sizes - 2).astype(np.uint64) << np.uint64(48)
    widths = [np.append(np.diff(cdf), 0) for cdf in cdfs]
    starts = np.concatenate(cdfs) & 65535
    values = np.concatenate(
        [
            np.append(np.arange(cdf.size - 2) + offset, [ESCAPED, 0])
            for cdf, offset in zip(cdfs, tables.offsets, strict=True)
        ]
    )
    flat = np.concatenate(widths)
    entries = (starts | flat << 16).astype(np.uint32)
    found = _entry(starts, flat, np.zeros_like(flat), values)
    place = len(cdfs) * BUCKETS
    first, parts = [], []
    for cdf, base in zip(cdfs, bases, strict=True):
        bucket, shared = _divide(cdf, int(base), np.arange(BUCKETS) * 256, 256, flat, values)
        which = np.flatnonzero(shared)
        lows = (which[:, None] * 256 + np.arange(SUB) * (256 // SUB)).reshape(-1)
        part, searched = _divide(cdf, int(base), lows, 256 // SUB, flat, values)
        part[searched] = 0
        bucket[which] = (place + np.arange(which.size) * SUB).astype(np.uint64) << np.uint64(32)
        place += part.size
        first.append(bucket)
        parts.append(part)
    return Packed(rows, entries, np.concatenate([*first, *parts]), found)


def _divide(
    cdf: npt.NDArray[np.int64], base: int, lows: npt.NDArray[np.int64], size: int, widths: Any, values: Any
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.bool_]]:
    """The entry of every part of the slots, and which of them more than two bins share, or a bin and the escape."""
    a = np.searchsorted(cdf, lows, side="right") - 1
    z = np.searchsorted(cdf, lows + size - 1, side="right") - 1
    entries = _entry(cdf[a] & 65535, widths[base + a], np.where(z > a, widths[base + a + 1], 0), values[base + a])
    escape = cdf.size - 2
    return entries, (z - a > 1) | ((z == escape) & (a < escape))


def _entry(start: Any, first: Any, second: Any, value: Any) -> npt.NDArray[np.uint64]:
    made = np.zeros(np.shape(start), np.uint64)
    for place, part in enumerate((start, first, second, value)):
        made |= (np.asarray(part).astype(np.int64) & 65535).astype(np.uint64) << np.uint64(16 * place)
    return made


@kernel()
def _write_escapes(
    escaped: int, first: int, symbols: Int32s, indexes: Int32s, rows: Int32s, escapes: Bytes, e: int
) -> int:
    """Writes the escapes of one vector, the last lane first; returns where the next one goes."""
    for lane in range(WIDTH - 1, -1, -1):
        if escaped >> lane & 1:
            row = indexes[first + lane]
            folded = _fold(wide(symbols[first + lane]) - wide(rows[row, 1]), wide(rows[row, 2]))
            top = _top_shift(folded)
            for shift in range(top, -1, -7):
                escapes[e] = ((folded >> shift) & 127) | (128 if shift < top else 0)
                e += 1
    return e


@kernel()
def _read_escapes(
    escaped: int, first: int, data: Bytes, e: int, floor: int, rows: Int32s, indexes: Int32s, out: Int32s
) -> int:
    """Reads the escapes of one vector into ``out``; returns where the next one ends, -1 for one that is unsound."""
    for lane in range(WIDTH):
        if escaped >> lane & 1:
            row = indexes[first + lane]
            folded = 0
            shift = 0
            byte = 128
            while byte >= 128:
                if shift == 7 * ESCAPE_BYTES or e <= floor:
                    return -1
                e -= 1
                byte = wide(data[e])
                folded |= (byte & 127) << shift
                shift += 7
            value = _unfold(folded, wide(rows[row, 2])) + rows[row, 1]
            if not -2147483648 <= value <= 2147483647:
                return -1
            out[first + lane] = value
    return e


@kernel()
def _search(
    x: Any,
    entries: Any,
    shared: int,
    first: int,
    scratch: Int64s,
    found: Any,
    indexes: Int32s,
    cdf: Int32s,
    buckets: Any,
) -> Any:
    """The entries of one vector, those of the lanes in ``shared`` found by a search."""
    at = wide(scratch.ctypes.data)
    store(x, at)
    store(entries, at + 8 * WIDTH)
    for lane in range(WIDTH):
        if shared >> lane & 1:
            place = _bin(scratch[lane] & 65535, indexes[first + lane], cdf, buckets)
            scratch[WIDTH + lane] = wide(found[place])
    return load(at + 8 * WIDTH)


_PACKED = _array(nb.uint64, readonly=True)
_PUSH = types.UniTuple(nb.int64, 2)(
    _INPUT, _INPUT, _PACKED, _array(nb.uint32, readonly=True), _array(nb.int64),
    _array(nb.uint16), nb.int64, _ROWS, _array(nb.uint8), nb.int64,
)  # fmt: skip
_POP = types.UniTuple(nb.int64, 3)(
    _array(nb.uint16), nb.int64, _array(nb.uint8, readonly=True), nb.int64, nb.int64, _array(nb.int64),
    _INPUT, _PACKED, _PACKED, _ROWS, _INPUT, _INPUT, _array(nb.int32), _array(nb.int64),
)  # fmt: skip


@kernel(_PUSH)
def push_8(
    symbols: Int32s,
    indexes: Int32s,
    rows: Any,
    entries: Any,
    states: Int64s,
    words: Words,
    p: int,
    scalar_rows: Int32s,
    escapes: Bytes,
    e: int,
) -> tuple[int, int]:
    """Codes symbols, a multiple of 8, from the last to the first; returns ``p`` and ``e``.

    As :func:`~tinify.coders.rans_kernels.push_lanes` without a limit, for 8 lanes.
    """
    at_states, at_words = wide(states.ctypes.data), wide(words.ctypes.data)
    at_symbols, at_indexes = wide(symbols.ctypes.data), wide(indexes.ctypes.data)
    at_rows, at_entries = wide(rows.ctypes.data), wide(entries.ctypes.data)
    end = at_words + 2 * p
    x = load(at_states)
    for first in range(symbols.size - 8, -1, -8):
        x, count, escaped = push(x, at_symbols + 4 * first, at_indexes + 4 * first, at_rows, at_entries, end)
        end -= 2 * count
        if escaped:
            e = _write_escapes(escaped, first, symbols, indexes, scalar_rows, escapes, e)
    store(x, at_states)
    return (end - at_words) // 2, e


@kernel(_PUSH)
def push_32(
    symbols: Int32s,
    indexes: Int32s,
    rows: Any,
    entries: Any,
    states: Int64s,
    words: Words,
    p: int,
    scalar_rows: Int32s,
    escapes: Bytes,
    e: int,
) -> tuple[int, int]:
    """:func:`push_8` for 32 lanes, in four registers."""
    at_states, at_words = wide(states.ctypes.data), wide(words.ctypes.data)
    at_symbols, at_indexes = wide(symbols.ctypes.data), wide(indexes.ctypes.data)
    at_rows, at_entries = wide(rows.ctypes.data), wide(entries.ctypes.data)
    end = at_words + 2 * p
    x0, x1, x2, x3 = load(at_states), load(at_states + 64), load(at_states + 128), load(at_states + 192)
    for first in range(symbols.size - 32, -1, -32):
        s, i = at_symbols + 4 * first, at_indexes + 4 * first
        x3, count, escaped3 = push(x3, s + 96, i + 96, at_rows, at_entries, end)
        end -= 2 * count
        x2, count, escaped2 = push(x2, s + 64, i + 64, at_rows, at_entries, end)
        end -= 2 * count
        x1, count, escaped1 = push(x1, s + 32, i + 32, at_rows, at_entries, end)
        end -= 2 * count
        x0, count, escaped0 = push(x0, s, i, at_rows, at_entries, end)
        end -= 2 * count
        if escaped0 | escaped1 | escaped2 | escaped3:
            e = _write_escapes(escaped3, first + 24, symbols, indexes, scalar_rows, escapes, e)
            e = _write_escapes(escaped2, first + 16, symbols, indexes, scalar_rows, escapes, e)
            e = _write_escapes(escaped1, first + 8, symbols, indexes, scalar_rows, escapes, e)
            e = _write_escapes(escaped0, first, symbols, indexes, scalar_rows, escapes, e)
    store(x0, at_states)
    store(x1, at_states + 64)
    store(x2, at_states + 128)
    store(x3, at_states + 192)
    return (end - at_words) // 2, e


@kernel(_POP)
def pop_8(
    words: Words,
    p: int,
    data: Bytes,
    e: int,
    floor: int,
    states: Int64s,
    indexes: Int32s,
    table: Any,
    found: Any,
    rows: Int32s,
    cdf: Int32s,
    buckets: Int32s,
    out: Int32s,
    scratch: Int64s,
) -> tuple[int, int, int]:
    """Decodes whole groups of 8 symbols, as long as no word can be missing; returns how many symbols, ``p`` and ``e``.

    As :func:`~tinify.coders.rans_kernels.pop_lanes`, which goes on where this stops. The number of symbols is -1 where
    an escape is unsound.
    """
    at_states, at_table, at_words = wide(states.ctypes.data), wide(table.ctypes.data), wide(words.ctypes.data)
    at_indexes, at_out = wide(indexes.ctypes.data), wide(out.ctypes.data)
    x = load(at_states)
    done = 0
    while done + 8 <= indexes.size and p + 8 < words.size:
        found_here, shared = look(x, at_indexes + 4 * done, at_table)
        if shared:
            found_here, shared = refine(x, found_here, at_table)
            if shared:
                found_here = _search(x, found_here, shared, done, scratch, found, indexes, cdf, buckets)
        x, count, escaped = pop(x, found_here, at_words + 2 * p, at_out + 4 * done)
        p += count
        if escaped:
            e = _read_escapes(escaped, done, data, e, floor, rows, indexes, out)
            if e < 0:
                return -1, p, e
        done += 8
    store(x, at_states)
    return done, p, e


@kernel(_POP)
def pop_32(
    words: Words,
    p: int,
    data: Bytes,
    e: int,
    floor: int,
    states: Int64s,
    indexes: Int32s,
    table: Any,
    found: Any,
    rows: Int32s,
    cdf: Int32s,
    buckets: Int32s,
    out: Int32s,
    scratch: Int64s,
) -> tuple[int, int, int]:
    """:func:`pop_8` for 32 lanes, in four registers."""
    at_states, at_table, at_words = wide(states.ctypes.data), wide(table.ctypes.data), wide(words.ctypes.data)
    at_indexes, at_out = wide(indexes.ctypes.data), wide(out.ctypes.data)
    x0, x1, x2, x3 = load(at_states), load(at_states + 64), load(at_states + 128), load(at_states + 192)
    done = 0
    while done + 32 <= indexes.size and p + 32 < words.size:
        i, o = at_indexes + 4 * done, at_out + 4 * done
        f0, shared0 = look(x0, i, at_table)
        f1, shared1 = look(x1, i + 32, at_table)
        f2, shared2 = look(x2, i + 64, at_table)
        f3, shared3 = look(x3, i + 96, at_table)
        if shared0 | shared1 | shared2 | shared3:
            f0, shared0 = refine(x0, f0, at_table)
            f1, shared1 = refine(x1, f1, at_table)
            f2, shared2 = refine(x2, f2, at_table)
            f3, shared3 = refine(x3, f3, at_table)
            if shared0:
                f0 = _search(x0, f0, shared0, done, scratch, found, indexes, cdf, buckets)
            if shared1:
                f1 = _search(x1, f1, shared1, done + 8, scratch, found, indexes, cdf, buckets)
            if shared2:
                f2 = _search(x2, f2, shared2, done + 16, scratch, found, indexes, cdf, buckets)
            if shared3:
                f3 = _search(x3, f3, shared3, done + 24, scratch, found, indexes, cdf, buckets)
        x0, count, escaped0 = pop(x0, f0, at_words + 2 * p, o)
        p += count
        x1, count, escaped1 = pop(x1, f1, at_words + 2 * p, o + 32)
        p += count
        x2, count, escaped2 = pop(x2, f2, at_words + 2 * p, o + 64)
        p += count
        x3, count, escaped3 = pop(x3, f3, at_words + 2 * p, o + 96)
        p += count
        if escaped0 | escaped1 | escaped2 | escaped3:
            for vector, escaped in enumerate((escaped0, escaped1, escaped2, escaped3)):
                e = _read_escapes(escaped, done + 8 * vector, data, e, floor, rows, indexes, out)
                if e < 0:
                    return -1, p, e
        done += 32
    store(x0, at_states)
    store(x1, at_states + 64)
    store(x2, at_states + 128)
    store(x3, at_states + 192)
    return done, p, e


PUSH = {8: push_8, 32: push_32}
POP = {8: pop_8, 32: pop_32}
"""The kernels by the number of lanes."""
