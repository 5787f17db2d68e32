"""Which row of the tables codes each symbol, in as few bytes as it was given."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tinify.coders.coder import IntArray
from tinify.errors import InputError

Integers = npt.NDArray[Any]
_SHORTEST_RUN = 64
INDEXES = np.dtype(np.uint8), np.dtype(np.int16), np.dtype(np.int32)
SYMBOLS = np.dtype(np.int16), np.dtype(np.int32)


class Rows(NamedTuple):
    """Row indexes of symbols in coding order, as runs of ``length`` symbols of the same row.

    Runs are found where the last axes of an index array have a stride of 0, as those of ``numpy.broadcast_to`` and of
    a tensor's ``expand`` have: a table for each channel takes no more memory than one index a channel.
    """

    values: Integers
    """Of one axis, uint8, int16 or int32: the row of each run."""
    length: int
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """The number of symbols."""
        return self.values.size * self.length

    @property
    def argument(self) -> Any:
        """What compiled kernels take for it: an array, or a pair of an array and the length of its runs."""
        return (self.values, self.length) if self.length > 1 else self.values

    def dense(self) -> IntArray:
        """An int32 index for each symbol, of one axis."""
        values = self.values if self.values.dtype == np.int32 else self.values.astype(np.int32)
        return values if self.length == 1 else np.repeat(values, self.length)

    def check(self, count: int) -> None:
        """Raises :class:`~tinify.errors.InputError` unless all are rows of tables of ``count`` rows."""
        if not self.values.size:
            return
        low, high = int(self.values.min()), int(self.values.max())
        if low < 0 or high >= count:
            raise InputError(f"indexes from {low} to {high}: these tables have rows 0 to {count - 1}")


def read_rows(indexes: npt.ArrayLike) -> Rows:
    """The rows that an array of indexes names."""
    array = as_integers(indexes, "indexes", INDEXES)
    if array.size < _SHORTEST_RUN or array.flags.c_contiguous:
        return Rows(flat(array), 1, array.shape)
    axes, length = array.ndim, 1
    while axes and (array.strides[axes - 1] == 0 or array.shape[axes - 1] == 1):
        axes -= 1
        length *= array.shape[axes]
    if length >= _SHORTEST_RUN:
        firsts: tuple[Any, ...] = (..., *[0] * (array.ndim - axes))
        values = array[firsts]
        return Rows(flat(values), length, array.shape)
    return Rows(flat(array), 1, array.shape)


def flat(array: Integers) -> Integers:
    """The array with one axis, a copy only where it is not contiguous."""
    flags = array.flags
    if not (flags.c_contiguous and flags.aligned):
        array = array.copy()
    return array if array.ndim == 1 else array.reshape(-1)


def as_int32(values: npt.ArrayLike, what: str) -> IntArray:
    """``values`` as a contiguous int32 array, without a copy where they are one already."""
    return np.require(as_integers(values, what, (np.dtype(np.int32),)), np.int32, ["C", "A"])


def as_integers(values: npt.ArrayLike, what: str, kept: tuple[Any, ...]) -> Integers:
    """``values`` as an array of one of the types in ``kept``, or of int32, without a copy where they are one already.

    Raises :class:`~tinify.errors.InputError` for what are no integers, or do not fit 32 bits.
    """
    try:
        array = values if type(values) is np.ndarray else _as_array(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{what} cannot be read as an array: {error} (a tensor on a GPU wants .cpu() first)"
        ) from error
    if not array.size:
        return np.empty(array.shape, np.int32)
    if array.dtype in kept:
        return array
    if array.dtype.kind not in "iu":
        raise InputError(f"{what} of type {array.dtype}: expected integers")
    if not np.can_cast(array.dtype, np.int32):
        limits = np.iinfo(np.int32)
        if array.min() < limits.min or array.max() > limits.max:
            raise InputError(f"{what} from {array.min()} to {array.max()}: expected values that fit 32 bits")
    return array.astype(np.int32)


def _as_array(values: Any) -> Integers:
    # A tensor's own method takes half the time of numpy's detour.
    return values.numpy() if hasattr(values, "numpy") else np.asarray(values)


def as_output(out: Any, shape: tuple[int, ...]) -> Integers:
    """The array, or the array of a tensor, that symbols can be written to; raises InputError for what is none."""
    array = out if type(out) is np.ndarray else _as_array(out) if hasattr(out, "__array__") else None
    if array is None or array.dtype not in SYMBOLS or array.shape != shape or not array.flags.carray:
        raise InputError(
            f"out cannot be written: expected a contiguous int32 or int16 array or tensor on the CPU, of shape {shape}"
        )
    return array


def like(given: Any, array: Integers) -> Any:
    """The array, as a tensor of the same memory if ``given`` is a tensor."""
    torch = None if type(given) is np.ndarray else sys.modules.get("torch")
    return torch.from_numpy(array) if torch is not None and isinstance(given, torch.Tensor) else array
