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
def _lowest(mask: int) -> int:
    lane = 0
    while not mask >> lane & 1:
        lane += 1
    return lane


_PACKED = _array(nb.uint64, readonly=True)


@kernel(
    types.UniTuple(nb.int64, 2)(
        _INPUT, _INPUT, _PACKED, _array(nb.uint32, readonly=True), _array(nb.int64),
        _array(nb.uint16), nb.int64, _ROWS, _array(nb.uint8), nb.int64,
    )
)  # fmt: skip
def push_vectors(
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
    """Codes symbols, a multiple of the lanes, from the last to the first; returns ``p`` and ``e``.

    As :func:`~tinify.coders.rans_kernels.push_lanes` without a limit, for lanes in vectors.
    """
    lanes = states.size
    at_states = wide(states.ctypes.data)
    at_symbols, at_indexes = wide(symbols.ctypes.data), wide(indexes.ctypes.data)
    at_rows, at_entries = wide(rows.ctypes.data), wide(entries.ctypes.data)
    at_words = wide(words.ctypes.data)
    end = at_words + 2 * p
    for group in range(symbols.size - lanes, -1, -lanes):
        for vector in range(lanes - WIDTH, -1, -WIDTH):
            at = 4 * (group + vector)
            x = load(at_states + 8 * vector)
            x, count, escaped = push(x, at_symbols + at, at_indexes + at, at_rows, at_entries, end)
            end -= 2 * count
            store(x, at_states + 8 * vector)
            if escaped:
                for lane in range(WIDTH - 1, -1, -1):
                    if escaped >> lane & 1:
                        i = group + vector + lane
                        row = indexes[i]
                        bin_ = wide(scalar_rows[row, 2])
                        folded = _fold(wide(symbols[i]) - wide(scalar_rows[row, 1]), bin_)
                        top = _top_shift(folded)
                        for shift in range(top, -1, -7):
                            escapes[e] = ((folded >> shift) & 127) | (128 if shift < top else 0)
                            e += 1
    return (end - at_words) // 2, e


@kernel(
    types.UniTuple(nb.int64, 3)(
        _array(nb.uint16), nb.int64, _array(nb.uint8, readonly=True), nb.int64, nb.int64, _array(nb.int64),
        _INPUT, _PACKED, _PACKED, _ROWS, _INPUT, _INPUT, _array(nb.int32), _array(nb.int64),
    )
)  # fmt: skip
def pop_vectors(
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
    """Decodes symbols in whole groups of all lanes, as long as no word can be missing; returns how many, ``p``, ``e``.

    As :func:`~tinify.coders.rans_kernels.pop_lanes`, which goes on where this stops.
    """
    lanes = states.size
    at_states = wide(states.ctypes.data)
    at_indexes, at_out = wide(indexes.ctypes.data), wide(out.ctypes.data)
    at_table, at_words, at_scratch = wide(table.ctypes.data), wide(words.ctypes.data), wide(scratch.ctypes.data)
    done = 0
    while done + lanes <= indexes.size and p + lanes < words.size:
        for vector in range(0, lanes, WIDTH):
            at = 4 * (done + vector)
            x = load(at_states + 8 * vector)
            entries, shared = look(x, at_indexes + at, at_table)
            if shared:
                entries, shared = refine(x, entries, at_table)
                if shared:
                    store(x, at_scratch)
                    store(entries, at_scratch + 8 * WIDTH)
                    while shared:
                        lane = _lowest(shared)
                        shared &= shared - 1
                        slot = scratch[lane] & 65535
                        scratch[WIDTH + lane] = wide(found[_bin(slot, indexes[done + vector + lane], cdf, buckets)])
                    entries = load(at_scratch + 8 * WIDTH)
            x, count, escaped = pop(x, entries, at_words + 2 * p, at_out + at)
            p += count
            store(x, at_states + 8 * vector)
            while escaped:
                i = done + vector + _lowest(escaped)
                escaped &= escaped - 1
                row = indexes[i]
                folded = 0
                shift = 0
                byte = 128
                while byte >= 128:
                    if shift == 7 * ESCAPE_BYTES or e <= floor:
                        return -1, p, e
                    e -= 1
                    byte = wide(data[e])
                    folded |= (byte & 127) << shift
                    shift += 7
                value = _unfold(folded, wide(rows[row, 2])) + rows[row, 1]
                if not -2147483648 <= value <= 2147483647:
                    return -1, p, e
                out[i] = value
        done += lanes
    return done, p, e
