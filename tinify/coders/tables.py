"""Frozen coding tables: one quantised CDF per row, and the calls that code with them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from tinify.coders.coder import BatchCoder, Coder, IntArray
from tinify.coders.default import default_coder
from tinify.coders.incremental import Data, Decoder, Encoder, as_bytes
from tinify.coders.quantize import PRECISION
from tinify.coders.rows import SYMBOLS, Integers, Rows, as_int32, as_integers, as_output, flat, like, read_rows
from tinify.coders.threads import available
from tinify.errors import InputError

T = TypeVar("T")
_TOTAL = 1 << PRECISION
_MANY = 1 << 21  # symbols, from which on other threads are worth being called


@dataclass(frozen=True, init=False, eq=False, repr=False)
class CdfTables:
    """Rows of integer CDFs, a value that never changes.

    Row ``r`` is ``cdfs[r, :sizes[r]]``, strictly increasing from 0 to 65536; what follows it is padding. It has
    ``sizes[r] - 1`` bins, bin ``b`` being the symbol ``b + offsets[r]``, save the last: that is the escape, by which
    every other int32 symbol is coded.

    Arrays are taken as numpy or as torch tensors on the CPU, and kept as read-only int32. Raises
    :class:`~tinify.errors.InputError` for anything that is no such table.

    >>> tables = CdfTables([[0, 16384, 49152, 65535, 65536]], sizes=[5], offsets=[-1])
    >>> data = tables.encode([-1, 0, 1, 0, 1000], indexes=[0, 0, 0, 0, 0])
    >>> len(data), tables.decode(data, indexes=[0, 0, 0, 0, 0]).tolist()
    (6, [-1, 0, 1, 0, 1000])
    """

    cdfs: IntArray
    sizes: IntArray
    offsets: IntArray
    _derived: dict[str, Any]

    def __init__(self, cdfs: npt.ArrayLike, sizes: npt.ArrayLike, offsets: npt.ArrayLike) -> None:
        cdfs, sizes, offsets = as_int32(cdfs, "cdfs"), as_int32(sizes, "sizes"), as_int32(offsets, "offsets")
        if cdfs.ndim != 2 or not len(cdfs) or sizes.shape != offsets.shape or sizes.shape != cdfs.shape[:1]:
            raise InputError(
                f"cdfs of shape {cdfs.shape}, sizes {sizes.shape}, offsets {offsets.shape}: "
                "expected (rows, width), (rows,) and (rows,), at least one row"
            )
        _check_rows(cdfs, sizes, offsets)
        width = int(sizes.max())
        cdfs = np.where(np.arange(width) < sizes[:, None], cdfs[:, :width], 0).astype(np.int32)
        for name, array in (("cdfs", cdfs), ("sizes", sizes.copy()), ("offsets", offsets.copy())):
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        object.__setattr__(self, "_derived", {})

    def encode(
        self,
        symbols: npt.ArrayLike,
        indexes: npt.ArrayLike,
        *,
        coder: Coder | None = None,
        threads: int | None = None,
    ) -> bytes:
        """One string of all symbols, each coded by the row that ``indexes``, of the same shape, says.

        Symbols may be any integers that fit 32 bits, indexes too; symbols of int16 or int32 and indexes of uint8, int16
        or int32 are read as they are. An index that holds for many symbols in turn needs no array: give a view, like
        ``numpy.broadcast_to(channels[:, None], (len(channels), height * width))`` or a tensor's ``expand``.

        ``coder`` is the entropy coder, rANS by default; the decoding side names the same. ``threads`` is how many work
        at a long string; None for as many as the process may run, where that pays. It does not change the string.
        """
        values, rows = self._pair(symbols, indexes)
        return self._encode(values, rows, 1, coder, threads)[0]

    def decode(
        self,
        data: Data,
        indexes: npt.ArrayLike,
        out: Any = None,
        *,
        coder: Coder | None = None,
        threads: int | None = None,
    ) -> Any:
        """The symbols of a string, int32 of the shape of ``indexes``; a tensor if those are one.

        They are written to ``out`` if given, a contiguous array or tensor of int32 or int16, which is returned. Raises
        :class:`~tinify.errors.CorruptStreamError` where the string cannot have come from :meth:`encode` with these
        indexes.
        """
        rows = read_rows(indexes)
        return self._decode((data,), rows, rows.size, indexes, out, coder, threads)

    def encode_batch(
        self,
        symbols: npt.ArrayLike,
        indexes: npt.ArrayLike,
        *,
        coder: Coder | None = None,
        threads: int | None = None,
    ) -> list[bytes]:
        """One string for each item of the first axis; arguments as for :meth:`encode`."""
        values, rows = self._pair(symbols, indexes)
        return self._encode(values, rows, _items(rows), coder, threads)

    def decode_batch(
        self,
        strings: Sequence[Data],
        indexes: npt.ArrayLike,
        out: Any = None,
        *,
        coder: Coder | None = None,
        threads: int | None = None,
    ) -> Any:
        """The symbols of the strings, each an item of the first axis; arguments and result as for :meth:`decode`."""
        rows = read_rows(indexes)
        items = _items(rows)
        if len(strings) != items:
            raise InputError(
                f"{len(strings)} strings but indexes of shape {rows.shape}: "
                "expected a string for each item of the first axis"
            )
        return self._decode(strings, rows, rows.size // items if items else 0, indexes, out, coder, threads)

    def encoder(self, *, coder: Coder | None = None) -> Encoder:
        """An encoder of one string, to which symbols are given a slice at a time."""
        return Encoder(self, coder)

    def decoder(self, data: Data, count: int, *, coder: Coder | None = None) -> Decoder:
        """A decoder of the ``count`` symbols in a string, to be popped a slice at a time."""
        if count < 0:
            raise InputError(f"count {count}: expected the number of symbols in the string")
        return Decoder(self, (coder or default_coder()).decoder(self, as_bytes(data), count), count)

    @cached_property
    def digest(self) -> bytes:
        """16 bytes that name the content, whatever the padding: the head of a SHA-256.

        Hashed are the number of rows, the sizes, the offsets, and the rows one after another, as little-endian int32.
        """
        rows = self.cdfs[np.arange(self.cdfs.shape[1]) < self.sizes[:, None]]
        content = np.concatenate(([len(self)], self.sizes, self.offsets, rows))
        return hashlib.sha256(content.astype("<i4").tobytes()).digest()[:16]

    def derive(self, name: str, build: Callable[[CdfTables], T]) -> T:
        """What a coder computes from the tables, built at the first call and kept under that name."""
        if name not in self._derived:
            self._derived[name] = build(self)
        kept: T = self._derived[name]
        return kept

    def __len__(self) -> int:
        return len(self.sizes)

    def __eq__(self, other: object) -> bool:
        return self.digest == other.digest if isinstance(other, CdfTables) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"CdfTables({len(self)} rows of up to {self.cdfs.shape[1] - 1} bins, digest {self.digest.hex()})"

    def __reduce__(self) -> tuple[type[CdfTables], tuple[IntArray, IntArray, IntArray]]:
        return CdfTables, (self.cdfs, self.sizes, self.offsets)

    def __copy__(self) -> CdfTables:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> CdfTables:
        return self

    def _pair(self, symbols: npt.ArrayLike, indexes: npt.ArrayLike) -> tuple[Integers, Rows]:
        values, rows = as_integers(symbols, "symbols", SYMBOLS), read_rows(indexes)
        if values.shape != rows.shape:
            raise InputError(f"symbols of shape {values.shape} but indexes of shape {rows.shape}: they must agree")
        return flat(values), rows

    def _encode(
        self, symbols: Integers, rows: Rows, items: int, coder: Coder | None, threads: int | None
    ) -> list[bytes]:
        if not symbols.size:
            return [b""] * items
        coder, count = coder or default_coder(), symbols.size // items
        if isinstance(coder, BatchCoder):
            return coder.encode_batch(self, symbols, rows, count, _threads(threads, symbols.size))
        rows.check(len(self))
        values, indexes = symbols.astype(np.int32, copy=False), rows.dense()
        return [coder.encode(self, values[at:][:count], indexes[at:][:count]) for at in range(0, symbols.size, count)]

    def _decode(
        self,
        strings: Sequence[Data],
        rows: Rows,
        count: int,
        indexes: npt.ArrayLike,
        out: Any,
        coder: Coder | None,
        threads: int | None,
    ) -> Any:
        data = [as_bytes(string) for string in strings]
        coder = coder or default_coder()
        symbols = np.empty(rows.shape, np.int32) if out is None else as_output(out, rows.shape)
        values = symbols if symbols.ndim == 1 else symbols.reshape(-1)
        if isinstance(coder, BatchCoder):
            if data:
                coder.decode_batch(self, data, rows, count, values, _threads(threads, values.size))
        else:
            rows.check(len(self))
            dense = rows.dense()
            for item, string in enumerate(data):
                decoder = self.decoder(string, count, coder=coder)
                decoder.pop(dense[item * count :][:count], values[item * count :][:count])
                decoder.finish()
        return like(indexes, symbols) if out is None else out


def _check_rows(cdfs: IntArray, sizes: IntArray, offsets: IntArray) -> None:
    if sizes.min() < 2 or sizes.max() > cdfs.shape[1]:
        raise InputError(
            f"sizes from {sizes.min()} to {sizes.max()}: expected 2 to {cdfs.shape[1]}, the width of the cdfs"
        )
    column = np.arange(1, cdfs.shape[1])
    rising = (np.diff(cdfs.astype(np.int64)) > 0) | (column >= sizes[:, None])
    last = np.take_along_axis(cdfs, sizes[:, None].astype(np.int64) - 1, axis=1)[:, 0]
    bad = np.flatnonzero(~rising.all(axis=1) | (cdfs[:, 0] != 0) | (last != _TOTAL))
    if bad.size:
        raise InputError(
            f"row {bad[0]} of the cdfs is none: expected integers that strictly increase from 0 to {_TOTAL}"
        )
    if (offsets.astype(np.int64) + sizes - 3 > np.iinfo(np.int32).max).any():
        raise InputError("offsets so large that symbols of the tables would not fit 32 bits")


def _items(rows: Rows) -> int:
    if not rows.shape:
        raise InputError("indexes without an axis: expected a batch axis first")
    return rows.shape[0]


def _threads(threads: int | None, symbols: int) -> int:
    if threads is None:
        return available() if symbols >= _MANY else 1
    if threads < 1:
        raise InputError(f"threads {threads}: expected at least 1, or None for as many as pay")
    return threads
