"""Frozen coding tables: one quantised CDF per row, and the calls that code with them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from tinify.coders.coder import Coder, IntArray, SymbolReader
from tinify.coders.quantize import PRECISION
from tinify.errors import InputError

T = TypeVar("T")
Data = bytes | bytearray | memoryview
_TOTAL = 1 << PRECISION


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

    def encode(self, symbols: npt.ArrayLike, indexes: npt.ArrayLike, *, coder: Coder | None = None) -> bytes:
        """One string of all symbols, each coded by the row that ``indexes``, of the same shape, says.

        ``coder`` is the entropy coder, rANS by default; the decoding side names the same.
        """
        flat, rows = self._pair(symbols, indexes)
        return (coder or _default_coder()).encode(self, flat.reshape(-1), rows.reshape(-1))

    def decode(
        self, data: Data, indexes: npt.ArrayLike, out: IntArray | None = None, *, coder: Coder | None = None
    ) -> IntArray:
        """The symbols of a string, int32 of the shape of ``indexes``; written to ``out`` if given.

        Raises :class:`~tinify.errors.CorruptStreamError` where the string cannot have come from :meth:`encode` with
        these indexes.
        """
        rows = self._checked_indexes(indexes)
        decoder = self.decoder(data, rows.size, coder=coder)
        symbols = decoder._pop(rows, out)
        decoder.finish()
        return symbols

    def encode_batch(
        self, symbols: npt.ArrayLike, indexes: npt.ArrayLike, *, coder: Coder | None = None
    ) -> list[bytes]:
        """One string for each item of the first axis."""
        flat, rows = self._pair(symbols, indexes)
        _check_batch(rows)
        coder = coder or _default_coder()
        return [
            coder.encode(self, flat[item, ...].reshape(-1), rows[item, ...].reshape(-1)) for item in range(len(rows))
        ]

    def decode_batch(self, strings: Sequence[Data], indexes: npt.ArrayLike, *, coder: Coder | None = None) -> IntArray:
        """The symbols of the strings, int32 of the shape of ``indexes``; each string is an item of the first axis."""
        rows = self._checked_indexes(indexes)
        _check_batch(rows)
        if len(strings) != len(rows):
            raise InputError(
                f"{len(strings)} strings but indexes of shape {rows.shape}: "
                "expected a string for each item of the first axis"
            )
        out = np.empty(rows.shape, np.int32)
        for item, data in enumerate(strings):
            self.decode(data, rows[item, ...], out[item, ...], coder=coder)
        return out

    def decoder(self, data: Data, count: int, *, coder: Coder | None = None) -> Decoder:
        """A decoder of the ``count`` symbols in a string, to be popped a slice at a time."""
        if not isinstance(data, bytes | bytearray | memoryview):
            raise InputError(f"a string to decode of type {type(data).__name__}: expected bytes")
        if count < 0:
            raise InputError(f"count {count}: expected the number of symbols in the string")
        return Decoder(self, (coder or _default_coder()).decoder(self, bytes(data), count), count)

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

    def _pair(self, symbols: npt.ArrayLike, indexes: npt.ArrayLike) -> tuple[IntArray, IntArray]:
        flat, rows = as_int32(symbols, "symbols"), self._checked_indexes(indexes)
        if flat.shape != rows.shape:
            raise InputError(f"symbols of shape {flat.shape} but indexes of shape {rows.shape}: they must agree")
        return flat, rows

    def _checked_indexes(self, indexes: npt.ArrayLike) -> IntArray:
        # Kernels read tables without bounds checks: no index may pass unseen.
        rows = as_int32(indexes, "indexes")
        if rows.size and rows.view(np.uint32).max() >= len(self):  # one pass, for which negative ones are large
            raise InputError(f"indexes from {rows.min()} to {rows.max()}: these tables have rows 0 to {len(self) - 1}")
        return rows


class Decoder:
    """A string being decoded in coding order, a slice at a time; made by :meth:`CdfTables.decoder`.

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

    def pop(self, indexes: npt.ArrayLike, out: IntArray | None = None) -> IntArray:
        """The next symbols, int32 of the shape of ``indexes``; written to ``out`` if given."""
        return self._pop(self._tables._checked_indexes(indexes), out)

    def _pop(self, rows: IntArray, out: IntArray | None) -> IntArray:
        if rows.size > self.remaining:
            raise InputError(f"{rows.size} symbols asked of a string that has {self.remaining} left")
        if out is None:
            out = np.empty(rows.shape, np.int32)
        elif not _is_plain_int32(out) or out.shape != rows.shape or not out.flags.writeable:
            raise InputError(f"out cannot be written: expected a contiguous int32 numpy array of shape {rows.shape}")
        self._reader.pop(rows.reshape(-1), out.reshape(-1))
        self.remaining -= rows.size
        return out

    def finish(self) -> None:
        """Checks that the string was consumed exactly; :class:`~tinify.errors.CorruptStreamError` if not."""
        if self.remaining:
            raise InputError(f"finish() with {self.remaining} symbols still to be popped")
        self._reader.finish()


def as_int32(values: npt.ArrayLike, what: str) -> IntArray:
    """``values`` as a contiguous int32 array, without a copy where they are one already."""
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{what} cannot be read as an array: {error} (a tensor on a GPU wants .cpu() first)"
        ) from error
    if not array.size:
        return np.empty(array.shape, np.int32)
    if array.dtype.kind not in "iu":
        raise InputError(f"{what} of type {array.dtype}: expected integers")
    if not np.can_cast(array.dtype, np.int32):
        limits = np.iinfo(np.int32)
        if array.min() < limits.min or array.max() > limits.max:
            raise InputError(f"{what} from {array.min()} to {array.max()}: expected values that fit 32 bits")
    return np.require(array, np.int32, ["C", "A"])


def _is_plain_int32(out: object) -> bool:
    return isinstance(out, np.ndarray) and out.dtype == np.int32 and out.flags.c_contiguous and out.flags.aligned


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


def _check_batch(rows: IntArray) -> None:
    if not rows.ndim:
        raise InputError("indexes without an axis: expected a batch axis first")


def _default_coder() -> Coder:
    from tinify.coders.rans import RansCoder  # here, for it imports numba

    return RansCoder()
