"""The field's interface to rANS: the classes, the methods and the bytes of CompressAI's module of the same name.

Lists are taken and given as there; arrays and tensors on the CPU are taken too, and save the time of making lists.
``cdfs`` is a list of rows or a padded array, of which row ``r`` counts up to ``cdfs_sizes[r]``: see
:class:`tinify.CdfTables`. A table given again is recognised: an array by its content (a read-only one by identity),
a list of rows by the identity of its rows, so to change a list of rows, make new rows.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tinify.coders.coder import IntArray
from tinify.coders.compat import CompatReader, write
from tinify.coders.compat_lists import tables_of
from tinify.coders.incremental import Data, as_bytes
from tinify.coders.rows import as_int32, as_output, read_rows
from tinify.coders.tables import CdfTables
from tinify.errors import InputError

__all__ = ["BufferedRansEncoder", "RansDecoder", "RansEncoder"]

Integers: TypeAlias = Sequence[int] | npt.NDArray[Any]
Rows: TypeAlias = Sequence[Sequence[int]] | npt.NDArray[Any]


class BufferedRansEncoder:
    """Takes symbols a slice at a time, each with tables of its own, and makes one string of them all.

    >>> encoder = BufferedRansEncoder()
    >>> encoder.encode_with_indexes([100, -100], [0, 0], [[0, 16384, 32768, 49152, 65536]], [5], [0])
    >>> encoder.flush().hex()
    '22ec1c3300000008'
    """

    def __init__(self) -> None:
        self._slices: list[tuple[CdfTables, IntArray, IntArray]] = []

    def encode_with_indexes(
        self, symbols: Integers, indexes: Integers, cdfs: Rows, cdfs_sizes: Integers, offsets: Integers
    ) -> None:
        """Takes the next symbols, any that fit 32 bits, and the row of ``cdfs`` for each. They are copied.

        Raises :class:`~tinify.errors.InputError` for indexes of no row, and tables that are none.
        """
        tables, values, rows = _slice(symbols, indexes, cdfs, cdfs_sizes, offsets)
        self._slices.append((tables, values.copy(), rows.copy()))

    def flush(self) -> bytes:
        """The string of all symbols since the last flush; of none, 8 bytes."""
        slices, self._slices = self._slices, []
        return write(slices)


class RansEncoder:
    """Makes a string of symbols at once.

    >>> cdfs, sizes, offsets = [[0, 1, 65534, 65535, 65536]], [5], [-1]
    >>> RansEncoder().encode_with_indexes([0, 0], [0, 0], cdfs, sizes, offsets).hex()
    '0e00038000000000'
    """

    def encode_with_indexes(
        self, symbols: Integers, indexes: Integers, cdfs: Rows, cdfs_sizes: Integers, offsets: Integers
    ) -> bytes:
        """The string; arguments and errors as for :meth:`BufferedRansEncoder.encode_with_indexes`."""
        return write([_slice(symbols, indexes, cdfs, cdfs_sizes, offsets)])


class RansDecoder:
    """Reads a string, at once or a slice at a time.

    >>> cdfs, sizes, offsets = [[0, 1, 65534, 65535, 65536]], [5], [-1]
    >>> decoder, data = RansDecoder(), bytes.fromhex("0e00038000000000")
    >>> decoder.decode_with_indexes(data, [0, 0], cdfs, sizes, offsets)
    [0, 0]
    >>> decoder.set_stream(data)
    >>> decoder.decode_stream([0], cdfs, sizes, offsets), decoder.decode_stream([0], cdfs, sizes, offsets)
    ([0], [0])
    >>> decoder.finish()
    """

    def __init__(self) -> None:
        self._reader: CompatReader | None = None

    def decode_with_indexes(
        self,
        encoded: Data,
        indexes: Integers,
        cdfs: Rows,
        cdfs_sizes: Integers,
        offsets: Integers,
        *,
        out: Any = None,
    ) -> Any:
        """All symbols of a string as a list; or, given ``out``, in that array or tensor, which is returned.

        ``out`` is contiguous, int32, and of the shape of ``indexes``. Raises
        :class:`~tinify.errors.CorruptStreamError` where the string cannot have been made with these arguments, and
        :class:`~tinify.errors.InputError` for indexes of no row, and tables that are none.
        """
        reader = _reader(encoded)
        symbols = _decode(reader, indexes, cdfs, cdfs_sizes, offsets, out)
        reader.finish()
        return symbols

    def set_stream(self, encoded: Data) -> None:
        """Begins to read a string."""
        self._reader = _reader(encoded)

    def decode_stream(
        self, indexes: Integers, cdfs: Rows, cdfs_sizes: Integers, offsets: Integers, *, out: Any = None
    ) -> Any:
        """The next symbols of the string; result and errors as for :meth:`decode_with_indexes`."""
        return _decode(self._begun(), indexes, cdfs, cdfs_sizes, offsets, out)

    def finish(self) -> None:
        """Raises :class:`~tinify.errors.CorruptStreamError` unless the symbols read were all of the string."""
        self._begun().finish()

    def _begun(self) -> CompatReader:
        if self._reader is None:
            raise InputError("no string to read from: call set_stream(encoded) first")
        return self._reader


def _reader(encoded: Data) -> CompatReader:
    return CompatReader(as_bytes(encoded))


def _decode(
    reader: CompatReader, indexes: Integers, cdfs: Rows, cdfs_sizes: Integers, offsets: Integers, out: Any
) -> Any:
    tables, rows = tables_of(cdfs, cdfs_sizes, offsets), _int32(indexes, "indexes")
    read_rows(rows).check(len(tables))
    written = np.empty(rows.shape, np.int32) if out is None else as_output(out, rows.shape)
    if written.dtype != np.int32:
        raise InputError(f"out of type {written.dtype}: expected int32")
    reader.pop(tables, rows.reshape(-1), written.reshape(-1))
    return written.reshape(-1).tolist() if out is None else out


def _slice(
    symbols: Integers, indexes: Integers, cdfs: Rows, cdfs_sizes: Integers, offsets: Integers
) -> tuple[CdfTables, IntArray, IntArray]:
    tables = tables_of(cdfs, cdfs_sizes, offsets)
    values, rows = _int32(symbols, "symbols"), _int32(indexes, "indexes")
    if values.shape != rows.shape:
        raise InputError(f"symbols of shape {values.shape} but indexes of shape {rows.shape}: they must agree")
    read_rows(rows).check(len(tables))
    return tables, values.reshape(-1), rows.reshape(-1)


def _int32(values: Integers, what: str) -> IntArray:
    if isinstance(values, list):
        try:
            return np.frombuffer(array("i", values), np.int32)  # a third of numpy's time
        except (TypeError, OverflowError):
            pass  # as_int32 says what is wrong, or can read it
    return as_int32(values, what)
