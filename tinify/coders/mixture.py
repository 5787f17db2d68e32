"""Symbols coded by Gaussian mixtures: every one by integers worked out on the spot, without a table for each."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tinify.coders.coder import IntArray
from tinify.coders.incremental import Data, as_bytes
from tinify.coders.mixture_kernels import LAST, UNEVEN, find_bins, pop_mixture, push_bins
from tinify.coders.mixture_tables import normal_table, reaches, steepness
from tinify.coders.rans_format import FINE, OTHER_ROWS
from tinify.errors import CorruptStreamError, InputError


class MixtureCoder:
    """Codes integers by mixtures of Gaussians whose scales are rows of ``scales``.

    Parameters are int32 arrays (items, components, symbols): the row of the scale, the mean in units of 1/256, the
    weight in units of 1/65536; weights add up to 65536, but for rounding. Symbols are any int32, (items, symbols);
    those of a component's tails, of a probability of ``tail_mass`` in all, are left to escapes, and a few more. Where
    these integers agree, so do the strings, on any machine.
    specs/FORMAT.md describes them, section "Strings of Gaussian mixtures".

    >>> coder = MixtureCoder([0.5, 2.0])
    >>> mixture = np.array([[[0], [1]]]), np.array([[[0], [2560]]]), np.array([[[49152], [16384]]])
    >>> data = coder.encode([[9]], *mixture)
    >>> len(data), coder.decode(data, *mixture).tolist()
    (3, [[9]])
    """

    def __init__(self, scales: npt.ArrayLike, tail_mass: float = 0.0) -> None:
        self.steep = steepness(scales)
        self.reach = reaches(self.steep, tail_mass)

    def encode(self, symbols: npt.ArrayLike, *params: npt.ArrayLike) -> bytes:
        """The string of the symbols, under their rows of scales, means and weights; of none, ``b""``."""
        encoder = self.encoder()
        encoder.push(symbols, *params)
        return encoder.finish()

    def decode(self, data: Data, *params: npt.ArrayLike) -> IntArray:
        """The symbols of a string. Raises :class:`~tinify.errors.CorruptStreamError` where it cannot be right."""
        first = np.asarray(params[0])
        decoder = self.decoder(data, first.size // first.shape[1] if first.ndim == 3 and first.shape[1] else 0)
        symbols = decoder.pop(*params)
        decoder.finish()
        return symbols

    def encoder(self) -> MixtureEncoder:
        """An encoder of one string, to which symbols are given a part at a time."""
        return MixtureEncoder(self)

    def decoder(self, data: Data, count: int) -> MixtureDecoder:
        """A decoder of the ``count`` symbols in a string, to be popped a part at a time."""
        return MixtureDecoder(self, as_bytes(data), count)


class MixtureEncoder:
    """A string being encoded, given in coding order; made by :meth:`MixtureCoder.encoder`.

    What a symbol is coded by is worked out as it is pushed, and coded in :meth:`finish`, from the last to the first.
    """

    def __init__(self, coder: MixtureCoder) -> None:
        self._coder = coder
        self._bins = [np.empty(0, np.uint32)]
        self._escapes = [np.empty(0, np.int64)]

    def push(self, symbols: npt.ArrayLike, *params: npt.ArrayLike) -> None:
        """Takes the next symbols, (items, symbols), under parameters (items, components, symbols)."""
        shape, (indexes, means, weights) = _parameters(params)
        values = _int32(symbols, "symbols")
        expected = (shape[0], shape[2])
        if values.shape != expected:
            raise InputError(f"symbols of shape {values.shape} but parameters of {shape}: expected {expected}")
        bins, escapes = np.empty(values.size, np.uint32), np.empty(values.size, np.int64)
        form, mixture = self._coder, np.zeros((shape[1], 3), np.int64)
        scales = form.steep, form.reach, normal_table()
        _check(find_bins(values.reshape(-1), shape[2], indexes, means, weights, *scales, mixture, bins, escapes), form)
        self._bins.append(bins)
        self._escapes.append(escapes)

    def finish(self) -> bytes:
        """The string of all symbols so far."""
        bins, escapes = np.concatenate(self._bins), np.concatenate(self._escapes)
        if not bins.size:
            return b""
        out = np.empty(2 * bins.size + 5 * int(np.count_nonzero(escapes >= 0)) + 8, np.uint8)
        return out[push_bins(bins, escapes, out) :].tobytes()


class MixtureDecoder:
    """A string being decoded in coding order, a part at a time; made by :meth:`MixtureCoder.decoder`."""

    def __init__(self, coder: MixtureCoder, data: bytes, count: int) -> None:
        if count < 0:
            raise InputError(f"count {count}: expected the number of symbols in the string")
        self._coder, self._data = coder, np.frombuffer(data, np.uint8)
        self._x, self._p = 0, 0
        self.remaining = count
        self._last = LAST if count else 0
        if data[:1] == b"\0":
            raise self._corrupt("it begins with a zero byte")

    def pop(self, *params: npt.ArrayLike) -> IntArray:
        """The next symbols, int32 (items, symbols), under parameters (items, components, symbols)."""
        shape, (indexes, means, weights) = _parameters(params)
        symbols = np.empty((shape[0], shape[2]), np.int32)
        if symbols.size > self.remaining:
            raise InputError(f"{symbols.size} symbols asked of a string that has {self.remaining} left")
        form, mixture = self._coder, np.zeros((shape[1], 3), np.int64)
        scales = form.steep, form.reach, normal_table()
        at = self._data, self._x, self._p
        status, x, p = pop_mixture(*at, shape[2], indexes, means, weights, *scales, mixture, symbols.reshape(-1))
        if status in (OTHER_ROWS, UNEVEN):
            _check(status, form)
        if status != FINE:
            raise self._corrupt("an escape is none")
        self._x, self._p = x, p
        self.remaining -= symbols.size
        return symbols

    def finish(self) -> None:
        """Checks that the string was used up; :class:`~tinify.errors.CorruptStreamError` if not."""
        if self.remaining:
            raise InputError(f"finish() with {self.remaining} symbols still to be popped")
        if self._x != self._last or self._p != self._data.size:
            raise self._corrupt("it does not end with its last symbol")

    def _corrupt(self, reason: str) -> CorruptStreamError:
        return CorruptStreamError(
            f"a mixture's string of {self._data.size} bytes is damaged, or was coded under other parameters: {reason}"
        )


def _parameters(params: tuple[npt.ArrayLike, ...]) -> tuple[tuple[int, ...], list[IntArray]]:
    """Their shape, and each in one line."""
    if len(params) != 3:
        raise InputError(f"{len(params)} parameters: expected the rows of the scales, the means, the weights")
    arrays = [_int32(one, name) for one, name in zip(params, ("indexes", "means", "weights"), strict=True)]
    shapes = [array.shape for array in arrays]
    if len(set(shapes)) > 1 or len(shapes[0]) != 3 or not shapes[0][1]:
        raise InputError(f"parameters of shapes {shapes}: expected all to be one (items, components, symbols)")
    return shapes[0], [array.reshape(-1) for array in arrays]


def _int32(array: Any, name: str) -> IntArray:
    values = np.asarray(array)
    if values.dtype.kind not in "iu" and values.size:
        raise InputError(f"{name} of type {values.dtype}: expected integers")
    narrow = np.ascontiguousarray(values, np.int32)
    if values.dtype.itemsize >= 4 and values.dtype != np.int32 and (narrow != values).any():
        raise InputError(f"{name} from {values.min()} to {values.max()}: expected numbers that fit 32 bits")
    return narrow


def _check(status: int, coder: MixtureCoder) -> None:
    if status == OTHER_ROWS:
        raise InputError(f"an index is no row of the {coder.steep.size} scales: expected 0 to {coder.steep.size - 1}")
    if status == UNEVEN:
        raise InputError("the weights of a symbol do not add up to 65536: expected those of a softmax over components")
