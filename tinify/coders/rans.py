"""The rANS coder of tinify: strings as specs/FORMAT.md writes them, section "Entropy-coded strings"."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import numpy.typing as npt

from tinify.coders.coder import IntArray, SymbolReader
from tinify.coders.rans_kernels import (
    BUCKETS,
    ESCAPE_BYTES,
    LANES_LOW,
    pop_lanes,
    pop_tiny,
    push_lanes,
    push_tiny,
)
from tinify.coders.tables import CdfTables
from tinify.errors import CorruptStreamError

if TYPE_CHECKING:
    from tinify.coders.rans_vectors import Packed

TINY_LIMIT = 1 << 12
"""The most symbols that are coded without a header, by one lane."""
WIDE_LIMIT = 1 << 17
"""From so many symbols on there are 32 lanes instead of 8."""

_LANES_SHIFT, _LANES_MASK = 2, 7
_FORK, _ESCAPES = 1 << 5, 1 << 6
_KNOWN = (_LANES_MASK << _LANES_SHIFT) | _FORK | _ESCAPES
_NEVER = 1 << 62


class RansCoder:
    """Range asymmetric numeral systems (Duda, arXiv:1311.2540) with 48-bit states and 16-bit probabilities.

    Up to 4096 symbols cost at most 3 bytes more than their information (1.9 on average); longer strings about 15 bytes,
    or 40 from 131072 symbols on. With ``vectors`` eight lanes at once are coded by AVX-512, to the same bytes; None for
    wherever the processor has it.
    """

    name = "rans"

    def __init__(self, vectors: bool | None = None) -> None:
        self._vectors = _has_vectors() if vectors is None else vectors

    def encode(self, tables: CdfTables, symbols: IntArray, indexes: IntArray) -> bytes:
        """The string of the symbols; of none, ``b""``."""
        flat = _flat(tables)
        if symbols.size <= TINY_LIMIT:
            out = np.empty((2 + ESCAPE_BYTES) * symbols.size + 8, np.uint8)
            return out[push_tiny(symbols, indexes, flat.rows, flat.cdf, out) :].tobytes()
        packed = _packed(tables) if self._vectors else None
        return _encode_lanes(flat, packed, symbols, indexes, 8 if symbols.size < WIDE_LIMIT else 32)

    def decoder(self, tables: CdfTables, data: bytes, count: int) -> SymbolReader:
        """A reader of the ``count`` symbols in ``data``."""
        if count <= TINY_LIMIT:
            return _TinyReader(_flat(tables), data)
        return _LanesReader(_flat(tables), _packed(tables) if self._vectors else None, data, count)


@dataclass(frozen=True)
class _Flat:
    """Tables as the kernels want them."""

    rows: IntArray
    """Of each row: where it begins in ``cdf``, its offset, its escape bin."""
    cdf: IntArray
    """All rows, one after another."""
    buckets: IntArray
    """Of each row, the position in ``cdf`` of the bin that holds slot 0, 256, 512, ... 65536 (there, the last bin)."""


def _flat(tables: CdfTables) -> _Flat:
    return tables.derive("rans", _flatten)


def _flatten(tables: CdfTables) -> _Flat:
    cdfs = [row[:size] for row, size in zip(tables.cdfs, tables.sizes, strict=True)]
    bases = np.cumsum(tables.sizes) - tables.sizes
    edges = np.arange(BUCKETS) * (65536 // BUCKETS)
    buckets = [
        np.append(np.searchsorted(cdf, edges, side="right") - 1, cdf.size - 2) + base
        for cdf, base in zip(cdfs, bases, strict=True)
    ]
    return _Flat(
        rows=np.stack([bases, tables.offsets, tables.sizes - 2], axis=1).astype(np.int32),
        cdf=np.concatenate(cdfs),
        buckets=np.concatenate(buckets).astype(np.int32),
    )


@cache
def _has_vectors() -> bool:
    from tinify.coders.vector_code import available

    return available()


def _packed(tables: CdfTables) -> Packed | None:
    from tinify.coders.rans_vectors import pack

    return tables.derive("rans vectors", pack)


def _encode_lanes(flat: _Flat, packed: Packed | None, symbols: IntArray, indexes: IntArray, lanes: int) -> bytes:
    count = symbols.size
    words = np.empty(count + 3 * lanes + 1, np.uint16)
    escapes = np.empty(ESCAPE_BYTES * count, np.uint8)
    states = np.full(1, LANES_LOW, np.int64)
    # One lane codes the tail, until its words can fill the states that the other lanes begin with.
    need = 2 * (lanes - 1)
    left, p, e = push_lanes(symbols, indexes, flat.rows, flat.cdf, states, need, lanes, words, words.size, escapes, 0)
    header = bytes([0])
    if left:
        states = np.concatenate((states, _join(np.ones(lanes - 1, np.int64), words[p : p + need].reshape(-1, 2))))
        p += need
        if packed:
            from tinify.coders.rans_vectors import PUSH

            of = (packed.rows, packed.entries, states, words, p, flat.rows, escapes, e)
            p, e = PUSH[lanes](symbols[:left], indexes[:left], *of)
        else:
            arguments = (flat.rows, flat.cdf, states, _NEVER, lanes, words, p, escapes, e)
            _, p, e = push_lanes(symbols[:left], indexes[:left], *arguments)
        header = bytes([(lanes.bit_length() - 1) << _LANES_SHIFT | _FORK]) + _leb128(count - left)
    header = bytes([header[0] | (_ESCAPES if e else 0)]) + header[1:]
    first = np.stack([states >> 32, states >> 16 & 65535, states & 65535], axis=1).reshape(-1)
    return b"".join(
        (header, first.astype("<u2").tobytes(), words[p:].astype("<u2", copy=False).tobytes(), escapes[:e].tobytes())
    )


class _TinyReader:
    """A string of one lane without a header."""

    def __init__(self, flat: _Flat, data: bytes) -> None:
        if data[:1] == b"\0":
            _corrupt(data, "it begins with a zero byte")
        self._flat = flat
        self._data = data
        self._state = np.zeros(2, np.int64)

    def pop(self, indexes: IntArray, out: IntArray) -> None:
        flat = self._flat
        data = np.frombuffer(self._data, np.uint8)
        if pop_tiny(data, self._state, indexes, flat.rows, flat.cdf, flat.buckets, out) < indexes.size:
            _corrupt(self._data, "an escape is out of range")

    def finish(self) -> None:
        if self._state.tolist() != [0, len(self._data)]:
            _corrupt(self._data, "it does not end with its last symbol")


class _LanesReader:
    """A string of interleaved lanes."""

    def __init__(self, flat: _Flat, packed: Packed | None, data: bytes, count: int) -> None:
        self._flat, self._packed = flat, packed
        self._raw = data
        flags = data[0] if data else _corrupt(data, "it is empty")
        if flags & ~_KNOWN:
            _corrupt(data, f"its flags {flags:#04x} are of no format that this version knows")
        lanes = 1 << (flags >> _LANES_SHIFT & _LANES_MASK)
        self._escaped = bool(flags & _ESCAPES)
        forks = bool(flags & _FORK)
        tail, header = _read_leb128(data, 1) if forks else (0, 1)
        together = count - tail
        if len(data) < header + 6 * lanes or together < 0 or (forks and (not tail or together % lanes)):
            _corrupt(data, "its header does not fit its length")
        self._header = header
        self._forks_after = together if forks else None
        self._data = np.frombuffer(data, np.uint8)
        # A copy, because a fork puts words back; and one word more, which a kernel may read and not use.
        self._words = np.zeros((len(data) - header) // 2 + 1, np.uint16)
        self._words[:-1] = np.frombuffer(data, "<u2", self._words.size - 1, header)
        self._word = 3 * lanes
        self._states = _join(np.zeros(lanes, np.int64), self._words[: 3 * lanes].reshape(-1, 3))
        self._escape = len(data)
        self._lane = 0
        if (self._states < LANES_LOW).any():
            _corrupt(data, "a lane begins out of range")

    def pop(self, indexes: IntArray, out: IntArray) -> None:
        done = 0
        while done < indexes.size:
            if self._forks_after == 0:
                self._join_lanes()
            stop = indexes.size if self._forks_after is None else min(indexes.size, done + self._forks_after)
            self._pop(indexes[done:stop], out[done:stop])
            if self._forks_after is not None:
                self._forks_after -= stop - done
            done = stop

    def _pop(self, indexes: IntArray, out: IntArray) -> None:
        lanes = self._states.size
        first = -self._lane % lanes  # up to where a group of all lanes begins
        if self._packed is None or lanes not in (8, 32) or indexes.size < first + lanes:
            self._pop_lanes(indexes, out)
            return
        self._pop_lanes(indexes[:first], out[:first])
        done = first + self._pop_vectors(self._packed, indexes[first:], out[first:])
        self._pop_lanes(indexes[done:], out[done:])

    def _pop_vectors(self, packed: Packed, indexes: IntArray, out: IntArray) -> int:
        from tinify.coders.rans_vectors import POP

        flat, scratch = self._flat, np.empty(16, np.int64)
        done, self._word, self._escape = POP[self._states.size](
            self._words, self._word, self._data, self._escape, self._header, self._states,
            indexes, packed.table, packed.found, flat.rows, flat.cdf, flat.buckets, out, scratch,
        )  # fmt: skip
        if done < 0:
            _corrupt(self._raw, "an escape is out of range")
        return done

    def _pop_lanes(self, indexes: IntArray, out: IntArray) -> None:
        flat = self._flat
        sound, self._word, self._escape, self._lane = pop_lanes(
            self._words, self._word, self._data, self._escape, self._header, self._states, self._lane,
            indexes, flat.rows, flat.cdf, flat.buckets, out,
        )  # fmt: skip
        if sound < indexes.size:
            _corrupt(self._raw, "it ends too early, or an escape is out of range")

    def _join_lanes(self) -> None:
        """Gives back the words that the lanes began with; lane 0 goes on alone."""
        rest = self._states[1:]
        if (rest >> 32 != 1).any():
            _corrupt(self._raw, "its lanes do not meet")
        self._word -= 2 * rest.size
        self._words[self._word : self._word + 2 * rest.size] = np.stack(
            [rest >> 16 & 65535, rest & 65535], axis=1
        ).reshape(-1)
        self._states = self._states[:1].copy()
        self._lane = 0
        self._forks_after = None

    def finish(self) -> None:
        used = self._header + 2 * self._word == self._escape
        if not used or (self._states != LANES_LOW).any() or self._escaped != (self._escape < len(self._raw)):
            _corrupt(self._raw, "it does not end with its last symbol")


def _join(high: npt.NDArray[np.int64], words: npt.NDArray[np.uint16]) -> npt.NDArray[np.int64]:
    for column in words.T:
        high = high << 16 | column
    return high


def _leb128(value: int) -> bytes:
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _read_leb128(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift, byte in zip(range(0, 63, 7), data[at : at + 9], strict=False):
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return value, at
    return _corrupt(data, "a number in its header has no end")


def _corrupt(data: bytes, reason: str) -> NoReturn:
    raise CorruptStreamError(
        f"an entropy-coded string of {len(data)} bytes is damaged, or was coded with other tables or for another size: "
        f"{reason}"
    )
