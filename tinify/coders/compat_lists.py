"""Coding tables from what the field passes at every call: lists of rows, or arrays, the same again and again."""

from __future__ import annotations

import operator
from array import array
from collections import OrderedDict
from functools import lru_cache
from itertools import chain
from threading import Lock
from typing import Any

import numpy as np

from tinify.coders.coder import IntArray
from tinify.coders.rows import as_int32
from tinify.coders.tables import CdfTables
from tinify.errors import InputError

_KEPT = 16
"""Tables that are remembered: those of a model, and some more."""

_seen: OrderedDict[int, tuple[Any, list[Any], tuple[IntArray, IntArray], CdfTables]] = OrderedDict()
_lock = Lock()


def tables_of(cdfs: Any, sizes: Any, offsets: Any) -> CdfTables:
    """The tables of these rows, which are read once as long as they are the same objects.

    Raises :class:`~tinify.errors.InputError` where they are no tables.
    """
    lengths, shifts = as_int32(sizes, "cdfs_sizes"), as_int32(offsets, "offsets")
    rows = _frozen(cdfs)
    if rows is None:
        return _read(cdfs, lengths, shifts)
    # What is kept holds the objects, so that no other object can have their addresses.
    kept = _seen.get(id(cdfs))
    if kept is not None:
        _, same, (a, b), tables = kept
        if _identical(rows, same) and np.array_equal(a, lengths) and np.array_equal(b, shifts):
            return tables
    tables = _read(cdfs, lengths, shifts)
    with _lock:
        _seen[id(cdfs)] = cdfs, rows, (lengths.copy(), shifts.copy()), tables
        while len(_seen) > _KEPT:
            _seen.popitem(last=False)
    return tables


def _frozen(cdfs: Any) -> list[Any] | None:
    """The objects that stand for the content as long as they are the same; None if there are none."""
    if isinstance(cdfs, np.ndarray):
        return [cdfs] if not cdfs.flags.writeable and cdfs.base is None else None
    return list(cdfs) if isinstance(cdfs, list | tuple) else None


def _identical(rows: list[Any], same: list[Any]) -> bool:
    return len(rows) == len(same) and all(map(operator.is_, rows, same))


def _read(cdfs: Any, sizes: IntArray, offsets: IntArray) -> CdfTables:
    rows = cdfs if isinstance(cdfs, list | tuple) else as_int32(cdfs, "cdfs")
    of_rows = not isinstance(rows, np.ndarray) or rows.ndim == 2
    fit = of_rows and sizes.shape == offsets.shape == (len(rows),) and sizes.min(initial=2) >= 2
    cells = _cells(rows, sizes) if fit else None
    if cells is None or cells.size != sizes.sum(dtype=np.int64):
        raise InputError(
            f"cdfs with cdfs_sizes of shape {sizes.shape} and offsets of shape {offsets.shape}: expected rows of "
            "integers, and a size and an offset for each, the size at least 2 and at most the length of the row"
        )
    return _of_content(cells.tobytes(), sizes.tobytes(), offsets.tobytes())


def _cells(rows: Any, sizes: IntArray) -> IntArray:
    """The rows one after another, without their padding."""
    if isinstance(rows, np.ndarray):
        return rows[np.arange(rows.shape[1]) < sizes[:, None]]
    try:
        parts = (row[:size] for row, size in zip(rows, sizes.tolist(), strict=True))
        return np.frombuffer(array("i", chain.from_iterable(parts)), np.int32)
    except (TypeError, OverflowError) as error:
        raise InputError(f"cdfs that hold something else than rows of 32-bit integers: {error}") from error


@lru_cache(_KEPT)
def _of_content(cells: bytes, sizes: bytes, offsets: bytes) -> CdfTables:
    lengths = np.frombuffer(sizes, np.int32)
    padded = np.zeros((lengths.size, int(lengths.max(initial=0))), np.int32)
    padded[np.arange(padded.shape[1]) < lengths[:, None]] = np.frombuffer(cells, np.int32)
    return CdfTables(padded, lengths, np.frombuffer(offsets, np.int32))
