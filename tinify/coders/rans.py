"""The rANS coder of tinify: strings as specs/FORMAT.md writes them, section "Entropy-coded strings"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from tinify.coders.coder import BatchCoder, IntArray, SymbolReader
from tinify.coders.rans_engine import Engine, Reading, Series, refuse
from tinify.coders.rans_format import ESCAPE_BYTES, FINE
from tinify.coders.rans_strings import LaneString, compose_chunks, corrupt, read_chunks
from tinify.coders.rans_tables import flat
from tinify.coders.rows import Integers, Rows, read_rows
from tinify.coders.tables import CdfTables
from tinify.coders.threads import at_once

TINY_LIMIT = 1 << 12
"""The most symbols that are coded without a header, by one lane."""
WIDE_LIMIT = 1 << 18
"""From so many symbols on there are 32 lanes instead of 8."""
CHUNK = 5 << 16
"""The fewest symbols of a chunk: from twice as many on there are several. Fewer would cost 0.1 % of the bytes."""


@dataclass(frozen=True)
class Profile:
    """How strings of more than 4096 symbols are laid out: ``chunk`` symbols in a chunk, 0 for no chunks."""

    lanes: int
    chunk: int
    forks: bool = True


GPU = Profile(lanes=32, chunk=1 << 14, forks=False)
"""Short chunks whose lanes all begin at once, for a coder of thousands of threads; 1 to 6 % more bytes."""


def for_gpus() -> RansCoder:
    """A coder whose strings a GPU writes and reads by itself, laid out as :data:`GPU` says."""
    return RansCoder(profile=GPU)


def choose(count: int) -> Profile:
    """The layout of a string of ``count`` symbols, more than :data:`TINY_LIMIT`, where nothing else was asked for."""
    if count < WIDE_LIMIT:
        return Profile(lanes=8, chunk=0)
    chunks = 1 << max((count // CHUNK).bit_length() - 1, 0)  # a power of two, for as many threads and for pairs
    return Profile(lanes=32, chunk=-(-count // chunks) if chunks > 1 else 0)


class RansCoder(BatchCoder):
    """Range asymmetric numeral systems (Duda, arXiv:1311.2540) with 48-bit states and 16-bit probabilities.

    Up to 4096 symbols cost at most 3 bytes more than their information (1.9 on average); longer strings about 15 bytes,
    or 40 for every 327680 symbols from 262144 on. ``profile`` lays longer strings out in another way, which
    every reader understands: see :data:`GPU`.

    ``kernels`` says what does the work, to the same bytes: "vectors" where the processor has AVX-512 or AVX2, "scalar"
    with numba on any processor, "numpy" without numba; None for the fastest that there is. Raises
    :class:`~tinify.errors.InputError` for any other name.
    """

    name = "rans"

    def __init__(self, kernels: str | None = None, profile: Profile | None = None) -> None:
        self._engine = Engine(kernels)
        self.profile = profile

    def overhead(self, count: int) -> int:
        """The bytes that a string of ``count`` symbols spends on lanes that all begin at once; 0 where they fork."""
        if self.profile is None or self.profile.forks or count <= TINY_LIMIT:
            return 0
        return -(-count // (self.profile.chunk or count)) * (1 + 6 * self.profile.lanes)

    def encode(self, tables: CdfTables, symbols: IntArray, indexes: IntArray) -> bytes:
        """The string of the symbols; of none, ``b""``."""
        return self.encode_batch(tables, symbols, read_rows(indexes), symbols.size, 1)[0] if symbols.size else b""

    def decoder(self, tables: CdfTables, data: bytes, count: int) -> SymbolReader:
        """A reader of the ``count`` symbols in ``data``."""
        if count <= TINY_LIMIT:
            return _TinyReader(self._engine, tables, data)
        return _LanesReader(self._engine, tables, data, read_chunks(data, 0, len(data), count))

    def encode_batch(self, tables: CdfTables, symbols: Integers, rows: Rows, count: int, threads: int) -> list[bytes]:
        """The strings of every ``count`` symbols; ``symbols`` has one axis and is int16 or int32."""
        _check_runs(tables, rows)
        if count <= TINY_LIMIT:
            return self._encode_tinies(tables, symbols, rows, count)
        profile = self.profile or choose(count)
        chunk = profile.chunk or count
        items = symbols.size // count
        if chunk >= count:
            series = Series(0, count, [count] * items)
            return [b"".join(string) for string in self._encode_series(tables, symbols, rows, series, profile, threads)]
        counts = [min(chunk, count - first) for first in range(0, count, chunk)]
        strings = []
        for first in range(0, symbols.size, count):
            chunks = self._encode_series(tables, symbols, rows, Series(first, chunk, counts), profile, threads)
            strings.append(b"".join(compose_chunks(chunk, chunks)))
        return strings

    def decode_batch(
        self, tables: CdfTables, strings: Sequence[bytes], rows: Rows, count: int, out: Integers, threads: int
    ) -> None:
        """Decodes strings of ``count`` symbols each into ``out``, which has one axis and is int16 or int32."""
        _check_runs(tables, rows)
        if len(strings) == 1 and count <= TINY_LIMIT and out.dtype == np.int32:
            end = _pop_tiny(self._engine, tables, strings[0], (0, 0), rows, out)
            _finish_tiny(strings[0], end)
            return
        data = strings[0] if len(strings) == 1 else b"".join(strings)
        ends = [*accumulate(len(string) for string in strings)]
        if count <= TINY_LIMIT:
            self._decode_tinies(tables, data, ends, rows, count, out)
            return
        items = [read_chunks(data, begin, end, count) for begin, end in pairwise([0, *ends])]
        if all(len(item) == 1 for item in items):
            items = [[string for [string] in items]]
            self._decode_series(tables, data, items[0], rows, Series(0, count, [count] * len(strings)), out, threads)
            return
        for first, item in zip(range(0, out.size, count), items, strict=True):
            series = Series(first, item[0].symbols, [string.symbols for string in item])
            self._decode_series(tables, data, item, rows, series, out, threads)

    def _encode_series(
        self, tables: CdfTables, symbols: Integers, rows: Rows, series: Series, profile: Profile, threads: int
    ) -> list[list[Any]]:
        together = self._engine.together(tables, profile.lanes) or 1
        shares = series.shares(threads, together)
        coded = at_once(
            lambda share: self._engine.push(tables, symbols, rows, share, profile.lanes, profile.forks), shares
        )
        return [string for strings in coded for string in strings]

    def _decode_series(
        self,
        tables: CdfTables,
        data: bytes,
        strings: Sequence[LaneString],
        rows: Rows,
        series: Series,
        out: Integers,
        threads: int,
    ) -> None:
        lanes = {string.lanes for string in strings}
        if len(lanes) > 1:  # as a writer may mix them
            for at, string in enumerate(strings):
                self._decode_series(tables, data, [string], rows, series[at : at + 1], out, 1)
            return
        together = self._engine.together(tables, lanes.pop()) or 1
        shares, own = series.shares(threads, together), list(strings)

        def pop(share: Series) -> None:
            at = (share.first - series.first) // series.stride
            self._engine.pop(tables, data, own[at : at + len(share)], rows, share, out)

        at_once(pop, shares)

    def _encode_tinies(self, tables: CdfTables, symbols: Integers, rows: Rows, count: int) -> list[bytes]:
        form, items = flat(tables), symbols.size // count
        if items == 1:
            out = np.empty((2 + ESCAPE_BYTES) * count + 8, np.uint8)
            values = symbols.astype(np.int32, copy=False)
            begin = self._engine.tiny.push_tiny(values, rows.dense(), form.rows, form.cdf, out)
            if begin < 0:
                rows.check(len(tables))
            return [out[begin:].tobytes()]
        out, ends = np.empty((2 + ESCAPE_BYTES) * symbols.size + 8 * items, np.uint8), np.empty(items, np.int64)
        begin = self._engine.tiny.push_tinies(symbols, rows.argument, count, form.rows, form.cdf, out, ends)
        if begin < 0:
            rows.check(len(tables))
        data, edges = out[begin:].tobytes(), [0, *(ends - begin).tolist()]
        return [data[a:b] for a, b in pairwise(edges)]

    def _decode_tinies(
        self, tables: CdfTables, data: bytes, ends: Sequence[int], rows: Rows, count: int, out: Integers
    ) -> None:
        form = flat(tables)
        status, item = self._engine.tiny.pop_tinies(
            np.frombuffer(data, np.uint8), np.array(ends), rows.argument, count, form.rows, form.cdf, form.buckets, out
        )
        if status != FINE:
            refuse(status, ends[item] - (ends[item - 1] if item else 0), rows, tables)


def _check_runs(tables: CdfTables, rows: Rows) -> None:
    # Kernels check an index for each symbol as they go; those of runs are few, and are checked at once.
    if rows.length > 1:
        rows.check(len(tables))


def _pop_tiny(
    engine: Engine, tables: CdfTables, data: bytes, state: tuple[int, int], rows: Rows, out: Integers
) -> tuple[int, int]:
    form = flat(tables)
    status, x, at = engine.tiny.pop_tiny(
        np.frombuffer(data, np.uint8), *state, rows.dense(), form.rows, form.cdf, form.buckets, out
    )
    if status != FINE:
        refuse(status, len(data), rows, tables)
    return x, at


def _finish_tiny(data: bytes, state: tuple[int, int]) -> None:
    if data[:1] == b"\0":
        corrupt(len(data), "it begins with a zero byte")
    if state != (0, len(data)):
        corrupt(len(data), "it does not end with its last symbol")


class _TinyReader:
    """A string of one lane without a header."""

    def __init__(self, engine: Engine, tables: CdfTables, data: bytes) -> None:
        self._engine, self._tables, self._data = engine, tables, data
        self._state = (0, 0)

    def pop(self, indexes: IntArray, out: IntArray) -> None:
        self._state = _pop_tiny(self._engine, self._tables, self._data, self._state, read_rows(indexes), out)

    def finish(self) -> None:
        _finish_tiny(self._data, self._state)


class _LanesReader:
    """A string of interleaved lanes, a chunk at a time."""

    def __init__(self, engine: Engine, tables: CdfTables, data: bytes, strings: Sequence[LaneString]) -> None:
        self._engine, self._tables, self._data = engine, tables, data
        self._waiting = list(reversed(strings))
        self._next_chunk()

    def _next_chunk(self) -> None:
        string = self._waiting.pop()
        self._reading, self._left = Reading(self._engine, self._tables, self._data, string), string.symbols

    def pop(self, indexes: IntArray, out: IntArray) -> None:
        rows, done = read_rows(indexes), 0
        _check_runs(self._tables, rows)
        while done < indexes.size:
            if not self._left:
                self._reading.finish()
                self._next_chunk()
            step = min(self._left, indexes.size - done)
            self._reading.pop(rows, done, step, out)
            self._left -= step
            done += step

    def finish(self) -> None:
        self._reading.finish()
