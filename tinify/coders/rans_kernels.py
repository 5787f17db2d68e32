"""The steps of rANS that its kernels share, compiled by numba; specs/FORMAT.md says what they compute.

Tables are sound when they come here. Indexes are checked as they are read, for a pass of their own would cost up to a
fifth of the coding. Of a string nothing is assumed: every read from it is bounded, and whatever it says, states stay
below 2^48 and symbols within the type of the output.

``indexes`` is an array, or a pair of an array and the length of the runs that its items stand for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba as nb
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import extending
from numba.core import cgutils

from tinify.coders.rans_format import BUCKETS, ESCAPE_BYTES, FINE, TOO_WIDE, UNSOUND

F = TypeVar("F", bound=Callable[..., Any])
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint16]

# Loosely typed, because numba has its own idea of what an int is.
njit: Any = nb.njit
types: Any = nb.types
wide: Any = np.int64


def kernel(*signature: Any) -> Callable[[F], F]:
    """Compiles for that signature (for none: when first called), and keeps the result on disk if it can be written."""

    def compiled(function: F) -> F:
        try:
            result: F = njit(*signature, cache=True, nogil=True, error_model="numpy")(function)
        except RuntimeError:  # no writable place for the cache
            result = njit(*signature, nogil=True, error_model="numpy")(function)
        return result

    return compiled


def array(dtype: Any, axes: int = 1, readonly: bool = False) -> Any:
    """numba's type of a contiguous array."""
    return types.Array(dtype, axes, "C", readonly=readonly)


INPUT = array(nb.int32, readonly=True)
ROWS = array(nb.int32, axes=2, readonly=True)


def row_of(indexes: Any, at: int) -> int:
    """The row that codes symbol ``at``."""
    raise NotImplementedError("for compiled code alone")


@extending.overload(row_of, inline="always", strict=False)
def _row_of(indexes: Any, at: Any) -> Any:
    if isinstance(indexes, types.BaseTuple):
        return lambda indexes, at: wide(indexes[0][at // indexes[1]])
    return lambda indexes, at: wide(indexes[at])


def intrinsic(function: Callable[..., Any]) -> Any:
    """numba's: what it makes is called without the first argument, from compiled code alone."""
    return extending.intrinsic(function)


@intrinsic
def copy_bytes(typing: Any, source: Any, begin: Any, target: Any, at: Any, size: Any) -> Any:
    """Copies bytes between arrays of any type; places and size are in bytes. A loop would take many times as long."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        octet = ir.IntType(8).as_pointer()
        places = [
            builder.gep(builder.bitcast(context.make_array(kind)(context, builder, array).data, octet), [place])
            for kind, array, place in ((target, arguments[2], arguments[3]), (source, *arguments[:2]))
        ]
        copy: Any = cgutils.raw_memcpy
        copy(builder, *places, arguments[4], 1)
        return context.get_dummy_value()

    return types.void(source, types.int64, target, types.int64, types.int64), code


@kernel()
def push_state(x: int, start: int, width: int) -> int:
    """The state after a bin."""
    # A float64 quotient is exact: x < width * 2^32, so its error stays below 1 / width.
    quotient: int = wide(np.float64(x) / np.float64(width))
    return x + quotient * (65536 - width) + start


@kernel()
def find_bin(slot: int, row: int, cdf: Int32s, buckets: Int32s) -> int:
    """The position in ``cdf`` of the last entry that is not above the slot."""
    at = row * (BUCKETS + 1) + (slot >> 8)
    low: int = wide(buckets[at])
    high: int = wide(buckets[at + 1])
    while low < high:
        middle = (low + high + 1) >> 1
        if cdf[middle] <= slot:
            low = middle
        else:
            high = middle - 1
    return low


@kernel()
def fold(value: int, escape: int) -> int:
    """The distance from the row: values below it to odd numbers, above it to even ones."""
    return -2 * value - 1 if value < 0 else 2 * (value - escape)


@kernel()
def unfold(folded: int, escape: int) -> int:
    """The value that :func:`fold` folded."""
    return -((folded + 1) >> 1) if folded & 1 else escape + (folded >> 1)


@kernel()
def top_shift(folded: int) -> int:
    """By how much to shift for the last escape byte."""
    shift = 7 * (ESCAPE_BYTES - 1)
    while shift > 0 and folded >> shift == 0:
        shift -= 7
    return shift


@kernel()
def write_escape(folded: int, escapes: Bytes, e: int) -> int:
    """Writes the bytes of an escape, the last one first, up from ``escapes[e]``; returns where the next one goes."""
    top = top_shift(folded)
    for shift in range(top, -1, -7):
        escapes[e] = ((folded >> shift) & 127) | (128 if shift < top else 0)
        e += 1
    return e


@kernel()
def read_escape(data: Bytes, e: int, floor: int) -> tuple[int, int]:
    """Reads the bytes of an escape, down from ``data[e - 1]``, never below ``floor``; -1 for one that is none."""
    folded = 0
    shift = 0
    byte = 128
    while byte >= 128:
        if shift == 7 * ESCAPE_BYTES or e <= floor:
            return -1, e
        e -= 1
        byte = wide(data[e])
        folded |= (byte & 127) << shift
        shift += 7
    return folded, e


@kernel()
def check_symbol(value: int, out: Any) -> int:
    """Whether a symbol is one, and whether the output can hold it."""
    if not -2147483648 <= value <= 2147483647:
        return UNSOUND
    if out.itemsize < 4 and not -32768 <= value <= 32767:
        return TOO_WIDE
    return FINE
