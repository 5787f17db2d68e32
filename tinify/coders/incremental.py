"""Strings coded a slice at a time, as a context model does: it knows a slice's tables only after the one before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tinify.coders.coder import Coder, IntArray, SymbolReader
from tinify.coders.rows import as_output, like, read_rows
from tinify.errors import InputError

if TYPE_CHECKING:
    from tinify.coders.tables import CdfTables

Data = bytes | bytearray | memoryview


class Encoder:
    """A string being encoded, given in coding order; made by :meth:`CdfTables.encoder`.

    Slices are kept until :meth:`finish`, since rANS codes from the last symbol to the first. However they are cut, the
    string is that of :meth:`CdfTables.encode`.

    >>> from tinify.coders import CdfTables
    >>> tables = CdfTables([[0, 16384, 49152, 65535, 65536]], sizes=[5], offsets=[-1])
    >>> encoder = tables.encoder()
    >>> encoder.push([-1, 0], [0, 0]); encoder.push([1], [0])
    >>> encoder.finish() == tables.encode([-1, 0, 1], [0, 0, 0])
    True
    """

    def __init__(self, tables: CdfTables, coder: Coder | None) -> None:
        self._tables, self._coder = tables, coder
        self._slices: list[tuple[IntArray, IntArray]] = []

    def push(self, symbols: npt.ArrayLike, indexes: npt.ArrayLike) -> None:
        """Takes the next symbols; both of the same shape. They are copied."""
        values, rows = self._tables._pair(symbols, indexes)
        rows.check(len(self._tables))  # here, where the caller can still see which slice was wrong
        self._slices.append((values.astype(np.int32), rows.dense().copy()))

    def finish(self) -> bytes:
        """The string of all symbols so far."""
        if not self._slices:
            return b""
        symbols, indexes = (np.concatenate(part) for part in zip(*self._slices, strict=True))
        return self._tables.encode(symbols, indexes, coder=self._coder)


class Decoder:
    """A string being decoded in coding order, a slice at a time; made by :meth:`CdfTables.decoder`.

    >>> from tinify.coders import CdfTables
    >>> tables = CdfTables([[0, 16384, 49152, 65535, 65536]], sizes=[5], offsets=[-1])
    >>> decoder = tables.decoder(tables.encode([-1, 0, 1], [0, 0, 0]), count=3)
    >>> decoder.pop([0, 0]).tolist(), decoder.pop([0]).tolist()
    ([-1, 0], [1])
    >>> decoder.finish()
    """

    def __init__(self, tables: CdfTables, reader: SymbolReader, count: int) -> None:
        self._tables = tables
        self._reader = reader
        self.remaining = count

    def pop(self, indexes: npt.ArrayLike, out: Any = None) -> Any:
        """The next symbols, int32 of the shape of ``indexes``, a tensor if those are one; written to ``out`` if given.

        ``out`` is a contiguous array or tensor of int32 or int16.
        """
        rows = read_rows(indexes)
        rows.check(len(self._tables))
        if rows.size > self.remaining:
            raise InputError(f"{rows.size} symbols asked of a string that has {self.remaining} left")
        written = np.empty(rows.shape, np.int32) if out is None else as_output(out, rows.shape)
        symbols = written if written.dtype == np.int32 else np.empty(rows.shape, np.int32)
        self._reader.pop(rows.dense(), symbols.reshape(-1))
        self.remaining -= rows.size
        if symbols is not written:
            limits = np.iinfo(written.dtype)
            if symbols.size and not limits.min <= symbols.min() <= symbols.max() <= limits.max:
                raise InputError("out holds int16 and a symbol of the string does not fit: decode into int32")
            written[...] = symbols
        return like(indexes, written) if out is None else out

    def finish(self) -> None:
        """Checks that the string was consumed exactly; :class:`~tinify.errors.CorruptStreamError` if not."""
        if self.remaining:
            raise InputError(f"finish() with {self.remaining} symbols still to be popped")
        self._reader.finish()


def as_bytes(data: Data) -> bytes:
    """A string as bytes; :class:`~tinify.errors.InputError` for anything else."""
    if type(data) is bytes:
        return data
    if not isinstance(data, bytes | bytearray | memoryview):
        raise InputError(f"a string to decode of type {type(data).__name__}: expected bytes")
    return bytes(data)
