"""Coders."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinify.coders import PRECISION, CdfTables
from tinify.errors import CorruptStreamError

ESCAPE_BITS = 32


class BigIntCoder:
    """Range asymmetric numeral system (Duda 2013) without words or renormalisation: the string is one integer.

    A symbol outside its row is the row's last bin, followed by the symbol itself in 32 bits.
    """

    name = "acme/bigint"

    def encode(self, tables: CdfTables, symbols: Any, indexes: Any) -> bytes:
        if not len(symbols):
            return b""
        state = 1
        for symbol, row in zip(symbols[::-1].tolist(), indexes[::-1].tolist(), strict=True):
            last = int(tables.sizes[row]) - 2
            place = symbol - int(tables.offsets[row])
            if not 0 <= place < last:
                state = (state << ESCAPE_BITS) | (symbol & 0xFFFFFFFF)
                place = last
            start, end = int(tables.cdfs[row, place]), int(tables.cdfs[row, place + 1])
            state = (state // (end - start) << PRECISION) + start + state % (end - start)
        return state.to_bytes((state.bit_length() + 7) // 8, "little")

    def decoder(self, tables: CdfTables, data: bytes, count: int) -> BigIntReader:
        return BigIntReader(tables, data, count)


class BigIntReader:
    """The symbols of one integer."""

    def __init__(self, tables: CdfTables, data: bytes, count: int) -> None:
        if data[-1:] == b"\0" or bool(data) is not bool(count):
            raise CorruptStreamError(f"{len(data)} bytes are no acme/bigint string of {count} symbols")
        self._tables, self._state = tables, int.from_bytes(data, "little") if count else 1

    def pop(self, indexes: Any, out: Any) -> None:
        tables, state, mask = self._tables, self._state, (1 << PRECISION) - 1
        for index, row in enumerate(indexes.tolist()):
            last, low = int(tables.sizes[row]) - 2, state & mask
            place = int(np.searchsorted(tables.cdfs[row, : last + 2], low, side="right")) - 1
            start, end = int(tables.cdfs[row, place]), int(tables.cdfs[row, place + 1])
            state = (end - start) * (state >> PRECISION) + low - start
            symbol = place + int(tables.offsets[row])
            if place == last:
                symbol, state = state & 0xFFFFFFFF, state >> ESCAPE_BITS
                symbol -= (symbol >> 31) << ESCAPE_BITS
            if not state:
                raise CorruptStreamError("an acme/bigint string ends before its last symbol")
            out[index] = symbol
        self._state = state

    def finish(self) -> None:
        if self._state != 1:
            raise CorruptStreamError("an acme/bigint string goes on after its last symbol")
