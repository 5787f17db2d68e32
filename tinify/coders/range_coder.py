"""The range coder of tinify: strings as specs/FORMAT.md writes them, section "Range-coded strings"."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NoReturn

import numpy as np

from tinify.coders.coder import BatchCoder, IntArray, SymbolReader
from tinify.coders.range_kernels import (
    EARLY,
    FINE,
    LATE,
    MOST_WORDS,
    OTHER_END,
    WHOLE,
    check_end,
    pop_range,
    pop_ranges,
    push_ranges,
)
from tinify.coders.rans_tables import Flat, flat
from tinify.coders.rows import Integers, Rows, read_rows
from tinify.coders.tables import CdfTables
from tinify.errors import CorruptStreamError, InputError

_REASONS = {
    EARLY: "it ends too early, or an escape is out of range",
    LATE: "it does not end with its last symbol",
    OTHER_END: "its end is not one that a coder writes",
}


class RangeCoder(BatchCoder):
    """Range coding (Martin 1979) with a 48-bit span and 16-bit probabilities, moved in words of 16 bits.

    A string of any length costs less than one byte more than the information in its symbols, and what rounding takes,
    0.0001 %: 1.5 bytes less than rANS for few symbols, more for many, which rANS codes several times as fast. Every
    string is that of one message alone: what damaged bytes decode to without an error is coded to these very bytes.

    With ``strict=False`` any bytes decode to something: behind them are zeros, and what is left over does not matter.
    That is for drawing messages from random bytes, and tells nobody of damage.

    >>> tables = CdfTables([[0, 16384, 49152, 65535, 65536]], sizes=[5], offsets=[-1])
    >>> data = tables.encode([-1, 0, 1, 0], indexes=[0, 0, 0, 0], coder=RangeCoder())
    >>> len(data), tables.decode(data, indexes=[0, 0, 0, 0], coder=RangeCoder()).tolist()
    (1, [-1, 0, 1, 0])
    """

    name = "rangecoder"

    def __init__(self, strict: bool = True) -> None:
        self.strict = strict

    def encode(self, tables: CdfTables, symbols: IntArray, indexes: IntArray) -> bytes:
        """The string of the symbols; of none, ``b""``."""
        return self.encode_batch(tables, symbols, read_rows(indexes), symbols.size, 1)[0] if symbols.size else b""

    def decoder(self, tables: CdfTables, data: bytes, count: int) -> SymbolReader:
        """A reader of the ``count`` symbols in ``data``."""
        return _Reader(flat(tables), data, count, self.strict)

    def encode_batch(self, tables: CdfTables, symbols: Integers, rows: Rows, count: int, threads: int) -> list[bytes]:
        """The strings of every ``count`` symbols; ``symbols`` has one axis and is int16 or int32."""
        rows.check(len(tables))
        form, ends = flat(tables), np.empty(symbols.size // count, np.int64)
        words = np.empty(MOST_WORDS * count + 1, np.uint32)
        out = np.empty(2 * MOST_WORDS * symbols.size + 2 * ends.size, np.uint8)
        values = symbols.astype(np.int32, copy=False)
        push_ranges(values, rows.dense(), count, form.rows, form.cdf, words, out, ends)
        edges = [0, *ends.tolist()]
        data = out[: edges[-1]].tobytes()
        return [data[a:b] for a, b in pairwise(edges)]

    def decode_batch(
        self, tables: CdfTables, strings: Sequence[bytes], rows: Rows, count: int, out: Integers, threads: int
    ) -> None:
        """Decodes strings of ``count`` symbols each into ``out``, which has one axis and is int16 or int32."""
        rows.check(len(tables))
        form, data = flat(tables), b"".join(strings)
        ends = np.array(list(accumulate(map(len, strings))), np.int64)
        values = out if out.dtype == np.int32 else np.empty(out.size, np.int32)
        status, item = pop_ranges(
            np.frombuffer(data, np.uint8), ends, rows.dense(), count, form.rows, form.cdf, form.buckets, values,
            self.strict,
        )  # fmt: skip
        if status != FINE:
            _corrupt(len(strings[item]), status)
        if values is not out:
            _narrow(values, out)


def _narrow(values: IntArray, out: Integers) -> None:
    """Moves decoded symbols to an array of a smaller type."""
    limits = np.iinfo(out.dtype)
    if values.size and (values.min() < limits.min or values.max() > limits.max):
        raise InputError(f"symbols from {values.min()} to {values.max()} do not fit out, of {out.dtype}: give int32")
    out[:] = values


def _corrupt(size: int, status: int) -> NoReturn:
    raise CorruptStreamError(
        f"a range-coded string of {size} bytes is damaged, or was coded with other tables or for another size: "
        f"{_REASONS[status]}"
    )


class _Reader:
    """A string being read, behind which all bytes are zero."""

    def __init__(self, flat: Flat, data: bytes, count: int, strict: bool) -> None:
        self._flat, self._data, self._strict = flat, data, strict
        zeros = 8 + len(data) % 2 + (0 if strict else 2 * MOST_WORDS * count)
        self._words = np.frombuffer(data + bytes(zeros), ">u2").astype(np.uint16)
        self._limit = len(data) // 2 if strict else self._words.size - 3
        first = int.from_bytes(self._words[:3].astype(">u2").tobytes(), "big")
        self._state = np.array([first, WHOLE, 0], np.int64)

    def pop(self, indexes: IntArray, out: IntArray) -> None:
        form, words = self._flat, self._words
        sound = pop_range(
            words, self._limit, self._state, indexes, form.rows, form.cdf, form.buckets, out, self._strict
        )
        if sound < indexes.size:
            _corrupt(len(self._data), EARLY)

    def finish(self) -> None:
        if self._strict:
            distance, span, passed = self._state.tolist()
            status = check_end(distance, span, len(self._data) - 2 * passed, self._data[-1] if self._data else 0)
            if status != FINE:
                _corrupt(len(self._data), status)
