"""The range coder of tinify: strings as specs/FORMAT.md writes them, section "Range-coded strings"."""

from __future__ import annotations

from typing import NoReturn

import numpy as np

from tinify.coders.coder import IntArray, SymbolReader
from tinify.coders.range_kernels import WHOLE, pop_range, push_range, settle
from tinify.coders.rans_tables import Flat, flat
from tinify.coders.tables import CdfTables
from tinify.errors import CorruptStreamError

_WORDS = 4
"""The most words that a symbol takes: 16 bits of its bin and 40 of its escape are less."""
_TAIL = ((0, 48), (1, 40), (2, 32))
"""Bytes that may follow the words, and the bits of the last span that they leave to be zero."""


class RangeCoder:
    """Range coding (Martin 1979) with a 48-bit span and 16-bit probabilities, moved in words of 16 bits.

    A string of any length costs less than one byte more than the information in its symbols, and what rounding takes,
    0.0001 %: 1.5 bytes less than rANS for few symbols, more for many, which rANS codes several times as fast. Every
    string is that of one message alone: what damaged bytes decode to without an error is coded to these very bytes.

    >>> tables = CdfTables([[0, 16384, 49152, 65535, 65536]], sizes=[5], offsets=[-1])
    >>> data = tables.encode([-1, 0, 1, 0], indexes=[0, 0, 0, 0], coder=RangeCoder())
    >>> len(data), tables.decode(data, indexes=[0, 0, 0, 0], coder=RangeCoder()).tolist()
    (1, [-1, 0, 1, 0])
    """

    name = "rangecoder"

    def encode(self, tables: CdfTables, symbols: IntArray, indexes: IntArray) -> bytes:
        """The string of the symbols; of none, ``b""``."""
        form = flat(tables)
        words = np.empty(_WORDS * symbols.size + 1, np.uint32)
        low, span, count = push_range(symbols, indexes, form.rows, form.cdf, words)
        number, tail = _shortest(low, span)
        out = np.empty(2 * count, np.uint8)
        settle(words[:count], number >> 48, out)
        return out.tobytes() + (number % WHOLE).to_bytes(6, "big")[:tail]

    def decoder(self, tables: CdfTables, data: bytes, count: int) -> SymbolReader:
        """A reader of the ``count`` symbols in ``data``."""
        return _Reader(flat(tables), data)


def _shortest(low: int, span: int) -> tuple[int, int]:
    """The number within the span that takes the fewest bytes, the lowest of them; and these bytes."""
    numbers = ((-(-low >> bits) << bits, tail) for tail, bits in _TAIL)
    return next((number, tail) for number, tail in numbers if number < low + span)


class _Reader:
    """A string being read, behind which all bytes are zero."""

    def __init__(self, flat: Flat, data: bytes) -> None:
        self._flat, self._data = flat, data
        self._words = np.frombuffer(data + bytes(8 + len(data) % 2), ">u2").astype(np.uint16)
        first = int.from_bytes(self._words[:3].astype(">u2").tobytes(), "big")
        self._state = np.array([first, WHOLE, 0], np.int64)

    def pop(self, indexes: IntArray, out: IntArray) -> None:
        form, limit = self._flat, len(self._data) // 2
        if pop_range(self._words, limit, self._state, indexes, form.rows, form.cdf, form.buckets, out) < indexes.size:
            self._corrupt("it ends too early, or an escape is out of range")

    def finish(self) -> None:
        distance, span, passed = self._state.tolist()
        bits = dict(_TAIL).get(len(self._data) - 2 * passed)
        if bits is None:
            self._corrupt("it does not end with its last symbol")
        # That it is the lowest within the span, and none with a byte less is.
        if distance >> bits or (bits < 48 and not 0 < self._data[-1] << bits <= (256 << bits) - span + distance):
            self._corrupt("its end is not one that a coder writes")

    def _corrupt(self, reason: str) -> NoReturn:
        raise CorruptStreamError(
            f"a range-coded string of {len(self._data)} bytes is damaged, or was coded with other tables or for "
            f"another size: {reason}"
        )
