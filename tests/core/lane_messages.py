"""Messages as the kernels of rANS take them, and strings written and read by one module's kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
from coding_tables import INT32, tables_of
from hypothesis import strategies as st

from tinify.coders import CdfTables
from tinify.coders.rans_format import CURSOR, ESCAPE_BYTES
from tinify.coders.rans_strings import compose, read_lane_string
from tinify.coders.rans_tables import flat

LANES = [1, 2, 8, 32, 128]
SPARE = 5
"""Symbols before those that are coded, and after them: kernels must leave them alone."""
TYPES = [(np.int32, np.int32, 1), (np.int16, np.uint8, 1), (np.int32, np.int16, 70)]
"""Of symbols, of indexes, and the length of their runs; each takes seconds to compile."""


EXTREME = tables_of(
    [
        [0, 65535, 65536],
        [0, 1, 65536],
        [0, 65536],
        [0, 1, 65535, 65536],
        list(range(65537)),
        list(range(0, 65537, 4096)),
    ],
    [0, -3, 7, INT32.max - 1, -30000, INT32.min],
)
FEW = tables_of([[0, 5000, 60000, 65000, 65536], [0, 60000, 65535, 65536]], [-2, 0])


@st.composite
def table_sets(draw: st.DrawFn) -> CdfTables:
    if draw(st.integers(0, 3)) == 0:
        return EXTREME
    cuts = st.sets(st.integers(1, 65535), max_size=40)
    rows = [[0, *sorted(row), 65536] for row in draw(st.lists(cuts, min_size=1, max_size=4))]
    return tables_of(rows, draw(st.lists(st.integers(-(10**6), 10**6), min_size=len(rows), max_size=len(rows))))


class Message:
    """Symbols and indexes as kernels take them, with spare ones around; read-only for numpy's."""

    def __init__(self, tables: CdfTables, count: int, seed: int, escaping: float, types: Any = TYPES[0]) -> None:
        symbol, index, run = types
        random, size = np.random.default_rng(seed), count + 2 * SPARE
        values = random.integers(0, len(tables), -(-size // run))
        indexes = np.repeat(values, run)[:size]
        symbols = np.empty(size, np.int64)
        for row in range(len(tables)):
            own = indexes == row
            slots = random.integers(0, 65536, int(own.sum()))
            places = np.searchsorted(tables.cdfs[row, : tables.sizes[row]], slots, side="right") - 1
            symbols[own] = places + tables.offsets[row]
        far = random.random(size) < escaping
        symbols[far] = random.integers(INT32.min, INT32.max, int(far.sum()), endpoint=True)
        limits = np.iinfo(symbol)
        self.count, self.form, self.run = count, flat(tables), run
        self.symbols = np.clip(symbols, limits.min, limits.max).astype(symbol)
        self.values = values.astype(index)

    @property
    def indexes(self) -> Any:
        return (self.values, self.run) if self.run > 1 else self.values

    def blank(self, dtype: Any = None) -> Any:
        return np.full(self.symbols.size, 99, dtype or self.symbols.dtype)


class LanesWriter:
    """A string pushed by one module's kernel, and all that it touched."""

    def __init__(self, module: Any, message: Message, lanes: int, forks: bool) -> None:
        count, form = message.count, message.form
        self.states, self.written = np.zeros(lanes, np.int64), np.zeros(3, np.int64)
        words, escapes = np.zeros(count + 16, np.uint16), np.zeros(ESCAPE_BYTES * count, np.uint8)
        self.status = module.push_string(
            message.symbols, message.indexes, SPARE, count, form.rows, form.cdf, self.states, words, escapes, forks,
            self.written,
        )  # fmt: skip
        self.left, begin, end = self.written.tolist()
        self.words, self.escapes = words[begin:], escapes[:end]

    def string(self, count: int, forks: bool) -> bytes:
        tail = count - self.left if forks and self.left else 0
        return b"".join(compose(self.states if self.left else self.states[:1], tail, self.words, self.escapes))

    def all(self) -> list[Any]:
        return [self.status, *(part.tolist() for part in (self.states, self.written, self.words, self.escapes))]


class LanesReader:
    """A lane string being popped by one module's kernel."""

    def __init__(self, module: Any, message: Message, data: bytes, dtype: Any = None) -> None:
        string = read_lane_string(data, 0, len(data), message.count)
        self.module, self.message, self.data = module, message, np.frombuffer(data, np.uint8)
        below = 2 * string.lanes  # room for the words that a join puts back
        self.words, self.cursor = np.zeros(below + len(data) + 1, np.uint16), np.zeros(len(CURSOR), np.int64)
        self.states, self.out = np.zeros(string.lanes, np.int64), message.blank(dtype)
        self.string = string
        self.start = module.start_string(
            self.data, string.header, string.end, string.symbols, string.tail, self.words, below, self.cursor,
            self.states,
        )  # fmt: skip

    def pop(self, begin: int, end: int) -> int:
        form = self.message.form
        status: int = self.module.pop_string(
            self.words, self.data, self.cursor, self.states, self.message.indexes, SPARE + begin, end - begin,
            form.rows, form.cdf, form.buckets, self.out,
        )  # fmt: skip
        return status

    def all(self) -> list[Any]:
        finish = self.module.finish_string(self.cursor, self.states, self.string.end, self.string.escaped)
        arrays = [part.tolist() for part in (self.words, self.cursor, self.states, self.out)]
        return [self.start, finish, *arrays]
