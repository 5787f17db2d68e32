"""Coding tables as the rANS kernels want them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinify.coders.coder import IntArray
from tinify.coders.rans_format import BUCKETS, ESCAPED
from tinify.coders.tables import CdfTables

PARTS = 16
"""Parts of a bucket that more than two bins share."""


@dataclass(frozen=True)
class Flat:
    """Tables as the kernels want them."""

    rows: IntArray
    """Of each row: where it begins in ``cdf``, its offset, its escape bin."""
    cdf: IntArray
    """All rows, one after another."""
    buckets: IntArray
    """Of each row, the position in ``cdf`` of the bin that holds slot 0, 256, 512, ... 65536 (there, the last bin)."""


def flat(tables: CdfTables) -> Flat:
    return tables.derive("rans", _flatten)


def _flatten(tables: CdfTables) -> Flat:
    cdfs = [row[:size] for row, size in zip(tables.cdfs, tables.sizes, strict=True)]
    bases = np.cumsum(tables.sizes) - tables.sizes
    edges = np.arange(BUCKETS) * (65536 // BUCKETS)
    buckets = [
        np.append(np.searchsorted(cdf, edges, side="right") - 1, cdf.size - 2) + base
        for cdf, base in zip(cdfs, bases, strict=True)
    ]
    return Flat(
        rows=np.stack([bases, tables.offsets, tables.sizes - 2], axis=1).astype(np.int32),
        cdf=np.concatenate(cdfs),
        buckets=np.concatenate(buckets).astype(np.int32),
    )


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


def packed(tables: CdfTables) -> Packed | None:
    """The packed form of tables, None for those that do not fit it."""
    return tables.derive("rans packed", _pack)


def _pack(tables: CdfTables) -> Packed | None:
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
        lows = (which[:, None] * 256 + np.arange(PARTS) * (256 // PARTS)).reshape(-1)
        part, searched = _divide(cdf, int(base), lows, 256 // PARTS, flat, values)
        part[searched] = 0
        bucket[which] = (place + np.arange(which.size) * PARTS).astype(np.uint64) << np.uint64(32)
        place += part.size
        first.append(bucket)
        parts.append(part)
    return Packed(rows, entries, np.concatenate([*first, *parts]), found)


def _divide(
    cdf: npt.NDArray[np.int64], base: int, lows: npt.NDArray[np.int64], size: int, widths: Any, values: Any
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.bool_]]:
    """The entry of every part of the slots, and which of them more than two bins share, or the escape has a part of."""
    a = np.searchsorted(cdf, lows, side="right") - 1
    z = np.searchsorted(cdf, lows + size - 1, side="right") - 1
    entries = _entry(cdf[a] & 65535, widths[base + a], np.where(z > a, widths[base + a + 1], 0), values[base + a])
    return entries, (z - a > 1) | (z == cdf.size - 2)


def _entry(start: Any, first: Any, second: Any, value: Any) -> npt.NDArray[np.uint64]:
    made = np.zeros(np.shape(start), np.uint64)
    for place, part in enumerate((start, first, second, value)):
        made |= (np.asarray(part).astype(np.int64) & 65535).astype(np.uint64) << np.uint64(16 * place)
    return made
