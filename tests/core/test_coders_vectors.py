"""The vector kernels: the bytes and the symbols of the scalar ones, whatever the tables, the message and its damage."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tinify.coders import CdfTables
from tinify.coders.rans import RansCoder
from tinify.coders.rans_vectors import pack
from tinify.errors import CorruptStreamError

VECTORS, SCALAR = RansCoder(vectors=True), RansCoder(vectors=False)
INT32 = np.iinfo(np.int32)
counts = st.sampled_from([4097, 4104, 5000, 8191, 8200])


def tables_of(rows: list[list[int]], offsets: list[int]) -> CdfTables:
    width = max(map(len, rows))
    return CdfTables([row + [0] * (width - len(row)) for row in rows], [len(row) for row in rows], offsets)


EXTREME = tables_of(
    [
        [0, 65535, 65536],
        [0, 1, 65536],
        [0, 1, 2, 65535, 65536],
        [*range(30000), 65536],
        list(range(0, 65537, 4096)),
        [0, 255, 256, 257, 65279, 65280, 65281, 65536],
    ],
    [0, -3, -1, -15000, -32767, -5],
)


@st.composite
def table_sets(draw: st.DrawFn) -> CdfTables:
    if draw(st.integers(0, 3)) == 0:
        return EXTREME
    cuts = st.sets(st.integers(1, 65535), min_size=1, max_size=60)
    rows = [[0, *sorted(row), 65536] for row in draw(st.lists(cuts, min_size=1, max_size=4))]
    return tables_of(rows, draw(st.lists(st.integers(-(2**15) + 1, 0), min_size=len(rows), max_size=len(rows))))


def message(tables: CdfTables, count: int, seed: int, escaping: float) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    indexes = random.integers(0, len(tables), count, dtype=np.int32)
    symbols = np.empty(count, np.int32)
    for row in range(len(tables)):
        size = int(tables.sizes[row])
        slots = random.integers(0, 65536, int((indexes == row).sum()))
        places = np.searchsorted(tables.cdfs[row, :size], slots, side="right") - 1
        symbols[indexes == row] = places + tables.offsets[row]
    far = random.random(count) < escaping
    symbols[far] = random.integers(INT32.min, INT32.max, int(far.sum()), endpoint=True)
    return symbols, indexes


def decoded(coder: RansCoder, tables: CdfTables, data: bytes, indexes: Any, cuts: list[int]) -> Any:
    """The symbols, popped in slices, or the message of the error."""
    out = np.zeros(indexes.size, np.int32)
    try:
        reader = coder.decoder(tables, data, indexes.size)
        for begin, end in zip([0, *cuts], [*cuts, indexes.size], strict=True):
            reader.pop(indexes[begin:end], out[begin:end])
        reader.finish()
    except CorruptStreamError as error:
        return str(error)
    return out.tolist()


@given(table_sets(), counts, st.integers(0, 2**32), st.sampled_from([0.0, 0.001, 0.3, 1.0]))
@example(EXTREME, 8200, 0, 0.01)
def test_both_write_the_same_bytes_and_read_each_other(
    tables: CdfTables, count: int, seed: int, escaping: float
) -> None:
    symbols, indexes = message(tables, count, seed, escaping)
    assert pack(tables) is not None
    data = VECTORS.encode(tables, symbols, indexes)
    assert data == SCALAR.encode(tables, symbols, indexes)
    for coder in (VECTORS, SCALAR):
        assert decoded(coder, tables, data, indexes, []) == symbols.tolist()


@pytest.mark.parametrize("escaping", [0.0, 0.002])
@pytest.mark.parametrize("count", [131072, 131072 + 37, 200_000])
def test_wide_strings(count: int, escaping: float) -> None:
    symbols, indexes = message(EXTREME, count, count, escaping)
    data = VECTORS.encode(EXTREME, symbols, indexes)
    assert data == SCALAR.encode(EXTREME, symbols, indexes)
    assert decoded(VECTORS, EXTREME, data, indexes, []) == symbols.tolist()


@given(table_sets(), st.integers(0, 2**32), st.lists(st.integers(0, 5000), max_size=6))
def test_slices_begin_anywhere(tables: CdfTables, seed: int, cuts: list[int]) -> None:
    symbols, indexes = message(tables, 5000, seed, 0.001)
    data = SCALAR.encode(tables, symbols, indexes)
    assert decoded(VECTORS, tables, data, indexes, sorted(cuts)) == symbols.tolist()


@given(table_sets(), st.integers(0, 2**32), st.data())
def test_damage_is_seen_by_both_or_by_neither(tables: CdfTables, seed: int, data: st.DataObject) -> None:
    symbols, indexes = message(tables, 4500, seed, 0.01)
    string = bytearray(SCALAR.encode(tables, symbols, indexes))
    for _ in range(data.draw(st.integers(1, 3))):
        string[data.draw(st.integers(0, len(string) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(string[: data.draw(st.integers(0, len(string)))]) if data.draw(st.booleans()) else bytes(string)
    ours, theirs = (decoded(coder, tables, cut, indexes, []) for coder in (VECTORS, SCALAR))
    assert isinstance(ours, str) == isinstance(theirs, str)
    assert isinstance(ours, str) or ours == theirs


@pytest.mark.parametrize(
    ("row", "offset"),
    [([0, 30000, 65535, 65536], 1), ([0, 9, 65536], -(2**15)), ([0, 9, 65536], INT32.min), ([0, 65536], 0)],
)
def test_tables_that_do_not_fit_are_left_to_the_scalar_kernels(row: list[int], offset: int) -> None:
    tables = tables_of([row], [offset])
    assert pack(tables) is None
    symbols, indexes = message(tables, 5000, 1, 0.0)
    data = VECTORS.encode(tables, symbols, indexes)
    assert decoded(VECTORS, tables, data, indexes, []) == symbols.tolist()
