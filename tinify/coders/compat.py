"""The field's strings, those that CompressAI writes; specs/FORMAT.md describes them, section "The field's strings"."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn

import numpy as np

from tinify.coders.coder import IntArray, SymbolReader
from tinify.coders.compat_kernels import LOW, pop_compat, pop_rows, push_compat
from tinify.coders.compat_tables import Line, line, of_bins
from tinify.coders.tables import CdfTables
from tinify.errors import CorruptStreamError

_BLOCK = 1 << 17
"""Symbols that are coded before their words are put aside: it bounds the memory."""


class CompatCoder:
    """rANS with one state of 64 bits, moved in words of 32: byte for byte the strings of CompressAI 1.2.

    For models whose strings other programs of the field read. rANS over many lanes, tinify's own, takes as many bytes
    and a fraction of the time.

    >>> tables = CdfTables([[0, 16384, 49152, 65535, 65536]], sizes=[5], offsets=[-1])
    >>> data = tables.encode([-1, 0, 1, 0], indexes=[0, 0, 0, 0], coder=CompatCoder())
    >>> len(data), tables.decode(data, indexes=[0, 0, 0, 0], coder=CompatCoder()).tolist()
    (8, [-1, 0, 1, 0])
    """

    name = "compat"
    raster = True
    """Context models code in the order of the raster for it, as the field's strings are; else along wavefronts."""

    def encode(self, tables: CdfTables, symbols: IntArray, indexes: IntArray) -> bytes:
        """The string of the symbols; of none, ``b""``."""
        return write([(tables, symbols, indexes)]) if symbols.size else b""

    def decoder(self, tables: CdfTables, data: bytes, count: int) -> SymbolReader:
        """A reader of the ``count`` symbols in ``data``."""
        return _OfTables(tables, data)


def write(slices: Iterable[tuple[CdfTables, IntArray, IntArray]]) -> bytes:
    """The string of slices of symbols, each with tables and indexes of its own."""
    x, words = LOW, list[bytes]()
    for tables, symbols, indexes in reversed(list(slices)):
        form = line(tables)
        for end in range(symbols.size, 0, -_BLOCK):
            here = slice(max(0, end - _BLOCK), end)
            x = _push(form, symbols[here], indexes[here], x, words)
    return _string(x, words)


def write_bins(starts: IntArray, widths: IntArray) -> bytes:
    """The string of bins that were looked up already, none of them an escape."""
    x, words = LOW, list[bytes]()
    for end in range(starts.size, 0, -_BLOCK):
        here = slice(max(0, end - _BLOCK), end)
        count = end - here.start
        form = of_bins(starts[here], widths[here])
        x = _push(form, np.zeros(count, np.int32), np.arange(count, dtype=np.int32), x, words)
    return _string(x, words)


def _push(form: Line, symbols: IntArray, indexes: IntArray, x: int, words: list[bytes]) -> int:
    out = np.empty(2 * symbols.size + 1, np.uint32)
    x, begin = push_compat(symbols, indexes, form.rows, form.steps, form.inverses, x, out)
    words.append(out[begin:].astype("<u4", copy=False).tobytes())
    return x


def _string(x: int, words: list[bytes]) -> bytes:
    """Words that were put aside from the last to the first, behind the state."""
    return b"".join([x.to_bytes(8, "little"), *reversed(words)])


class CompatReader:
    """A string being read, whose symbols may be of several tables."""

    def __init__(self, data: bytes) -> None:
        self._size = len(data)
        data = data or write([])
        x = int.from_bytes(data[:8], "little")
        if len(data) < 8 or len(data) % 4 or not LOW <= x < LOW << 32:
            self._corrupt("expected 8 bytes of a state and whole words of 4")
        self._words = np.frombuffer(data + bytes(4), "<u4", offset=8).astype(np.uint32, copy=False)
        self._state = np.array([x, 0], np.int64)

    def pop(self, tables: CdfTables, indexes: IntArray, out: IntArray) -> None:
        """Decodes the next ``len(indexes)`` symbols into ``out``, as :meth:`SymbolReader.pop` does."""
        form = line(tables)
        if pop_compat(self._words, self._state, indexes, form.rows, form.steps, form.table, out) < indexes.size:
            self._corrupt("it ends too early, or an escape is none")

    def pop_rows(self, cdfs: IntArray, out: IntArray) -> None:
        """Decodes a symbol by each row of ``cdfs``, (symbols, bins + 1); where it escapes, the string is damaged."""
        if pop_rows(self._words, self._state, cdfs, out) < out.size:
            self._corrupt("it ends too early, or a symbol is an escape")

    def finish(self) -> None:
        """Raises :class:`~tinify.errors.CorruptStreamError` unless the string was consumed exactly."""
        if self._state.tolist() != [LOW, self._words.size - 1]:
            self._corrupt("it does not end with its last symbol")

    def _corrupt(self, reason: str) -> NoReturn:
        raise CorruptStreamError(
            f"a string of {self._size} bytes is damaged, or was coded with other tables, for another size or by "
            f"another coder than compat: {reason}"
        )


class _OfTables:
    """A string whose symbols are all of the same tables."""

    def __init__(self, tables: CdfTables, data: bytes) -> None:
        self._tables, self._reader = tables, CompatReader(data)
        self.finish = self._reader.finish

    def pop(self, indexes: IntArray, out: IntArray) -> None:
        self._reader.pop(self._tables, indexes, out)
