"""Which kernels code the lane strings of rANS, and how they are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, NoReturn, cast

import numpy as np
import numpy.typing as npt

from tinify.coders.rans_format import (
    BAD_END,
    BAD_START,
    CURSOR,
    ESCAPE_BYTES,
    FINE,
    NOT_MET,
    OTHER_ROWS,
    TOO_WIDE,
)
from tinify.coders.rans_strings import LaneString, compose, corrupt
from tinify.coders.rans_tables import flat, packed
from tinify.coders.rows import Integers, Rows
from tinify.coders.tables import CdfTables
from tinify.errors import InputError

Int64s = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
KERNELS = "vectors", "scalar", "numpy"
"""From the fastest to the most portable."""
_SLACK = 16
"""Words of room more than there are symbols, for vector kernels write whole registers."""


@dataclass(frozen=True)
class Series:
    """Parts of an array of symbols, for each a string: they begin at ``first`` and every ``stride`` from there on."""

    first: int
    stride: int
    counts: Sequence[int]

    def __getitem__(self, which: slice) -> Series:
        begin = which.indices(len(self.counts))[0]
        return Series(self.first + begin * self.stride, self.stride, self.counts[which])

    def __len__(self) -> int:
        return len(self.counts)

    def shares(self, threads: int, together: int) -> list[Series]:
        """What each of several threads takes of it, as far as can be strings that are coded together."""
        groups = -(-len(self) // together)
        threads = min(threads, groups)
        edges = [groups * thread // threads * together for thread in range(threads + 1)]
        return [self[begin:end] for begin, end in pairwise(edges)]


@cache
def _features() -> frozenset[str]:
    try:
        from tinify.coders.vector_code import features
    except ImportError:  # numba lags behind the newest Pythons
        return frozenset({"no numba"})
    return features()


class Engine:
    """The kernels of one kind, the fastest that there is for None."""

    def __init__(self, kernels: str | None = None) -> None:
        if kernels is None:
            kernels = "numpy" if "no numba" in _features() else "vectors"
        if kernels not in KERNELS:
            raise InputError(f"kernels {kernels!r}: expected one of {', '.join(KERNELS)}, or None for the fastest")
        self.tiny: Any
        self.lanes: Any
        if kernels == "numpy":
            from tinify.coders import rans_numpy

            self.tiny = self.lanes = rans_numpy
        else:
            from tinify.coders import rans_lanes, rans_tiny

            self.tiny, self.lanes = rans_tiny, rans_lanes
        self._features = _features() if kernels == "vectors" else frozenset()

    def together(self, tables: CdfTables, lanes: int) -> int:
        """How many strings of so many lanes the vector kernels code at once; 0 if they do not."""
        if "vectors" not in self._features or packed(tables) is None:
            return 0
        from tinify.coders.rans_vectors import TOGETHER

        return TOGETHER.get(lanes, 0)

    def push(
        self, tables: CdfTables, symbols: Integers, rows: Rows, series: Series, lanes: int, forks: bool
    ) -> list[list[Any]]:
        """The lane strings of a series, each in parts."""
        together = self.together(tables, lanes)
        if not together:
            return [
                self._push_one(tables, symbols, rows, series[at : at + 1], lanes, forks) for at in range(len(series))
            ]
        whole = len(series) - len(series) % together
        strings: list[list[Any]] = []
        for part, number in (series[:whole], together), (series[whole:], 1):
            if len(part):
                strings += self._push_vectors(tables, symbols, rows, part, lanes, forks, number)
        return strings

    def _push_one(
        self, tables: CdfTables, symbols: Integers, rows: Rows, one: Series, lanes: int, forks: bool
    ) -> list[Any]:
        form, [count] = flat(tables), one.counts
        words, escapes = np.empty(count + _SLACK, np.uint16), np.empty(ESCAPE_BYTES * count, np.uint8)
        states, written = np.empty(lanes, np.int64), np.empty(3, np.int64)
        status = self.lanes.push_string(
            symbols, rows.argument, one.first, count, form.rows, form.cdf, states, words, escapes, forks, written
        )
        if status != FINE:
            rows.check(len(tables))
        left, begin, end = written.tolist()
        return _compose(count, left, states, words[begin:], escapes[:end], forks)

    def _push_vectors(
        self,
        tables: CdfTables,
        symbols: Integers,
        rows: Rows,
        part: Series,
        lanes: int,
        forks: bool,
        together: int,
    ) -> list[list[Any]]:
        from tinify.coders.rans_vectors import pusher

        form, pack, most = flat(tables), cast(Any, packed(tables)), max(part.counts)
        kernel = pusher(lanes, together, symbols.dtype, rows.values.dtype, rows.length > 1)
        scratch = np.empty(together * (most + _SLACK), np.uint16)
        escape_scratch = np.empty(together * ESCAPE_BYTES * most, np.uint8)
        words = np.empty(sum(part.counts), np.uint16)
        escapes = np.empty(ESCAPE_BYTES * words.size, np.uint8)
        states, written = np.empty((len(part), lanes), np.int64), np.empty((3, len(part)), np.int64)
        status = kernel(
            symbols, rows.argument, part.first, part.stride, np.array(part.counts), form.rows, form.cdf,
            pack.rows, pack.entries, states.reshape(-1), scratch, escape_scratch, words, escapes, forks, written,
        )  # fmt: skip
        if status != FINE:
            rows.check(len(tables))
        strings, begin, start = [], 0, 0
        for count, own, left, end, stop in zip(part.counts, states, *written.tolist(), strict=True):
            strings.append(_compose(count, left, own, words[begin:end], escapes[start:stop], forks))
            begin, start = end, stop
        return strings

    def pop(
        self,
        tables: CdfTables,
        data: bytes,
        strings: Sequence[LaneString],
        rows: Rows,
        series: Series,
        out: Integers,
    ) -> None:
        """Decodes whole strings, all of the same number of lanes, to where the series says."""
        lanes, octets = strings[0].lanes, np.frombuffer(data, np.uint8)
        heads = np.array([(string.header, string.end, string.tail, string.escaped) for string in strings])
        together = self.together(tables, lanes)
        whole = len(series) - len(series) % (together or 1)
        for begin, end, number in (0, whole, together), (whole, len(series), 1):
            if begin == end:
                continue
            buffers = _Buffers(strings[begin:end], number or 1)
            part = buffers, octets, heads[begin:end], rows, series[begin:end], out
            status, which = self._pop_vectors(tables, *part) if together else self._pop_scalar(tables, *part)
            if status != FINE:
                refuse(status, strings[begin + which].end - strings[begin + which].begin, rows, tables)

    def _pop_vectors(
        self,
        tables: CdfTables,
        buffers: _Buffers,
        data: Bytes,
        heads: Int64s,
        rows: Rows,
        part: Series,
        out: Integers,
    ) -> tuple[int, int]:
        from tinify.coders.rans_vectors import popper

        form, pack = flat(tables), cast(Any, packed(tables))
        kernel = popper(buffers.lanes, len(buffers.cursors), out.dtype, rows.values.dtype, rows.length > 1)
        status, which = kernel(
            buffers.words, data, buffers.cursors, buffers.states, heads, rows.argument, part.first, part.stride,
            np.array(part.counts), pack.table, pack.found, form.rows, form.cdf, form.buckets, out,
        )  # fmt: skip
        return status, which

    def _pop_scalar(
        self,
        tables: CdfTables,
        buffers: _Buffers,
        data: Bytes,
        heads: Int64s,
        rows: Rows,
        part: Series,
        out: Integers,
    ) -> tuple[int, int]:
        form, kernels = flat(tables), self.lanes
        own = buffers.words, data, buffers.cursors[0], buffers.states
        for which, (count, (header, end, tail, escaped)) in enumerate(zip(part.counts, heads.tolist(), strict=True)):
            status = kernels.start_string(
                data, header, end, count, tail, buffers.words, buffers.at, buffers.cursors[0], buffers.states
            )
            if status == FINE:
                first = part.first + which * part.stride
                status = kernels.pop_string(*own, rows.argument, first, count, form.rows, form.cdf, form.buckets, out)
            if status == FINE:
                status = kernels.finish_string(buffers.cursors[0], buffers.states, end, escaped)
            if status != FINE:
                return status, which
        return FINE, 0


def _compose(count: int, left: int, states: Int64s, words: Any, escapes: Any, forks: bool) -> list[Any]:
    if not forks:
        return compose(states, 0, words, escapes)
    return compose(states if left else states[:1], count - left if left else 0, words, escapes)


class _Buffers:
    """What kernels need to read some of the strings together."""

    def __init__(self, strings: Sequence[LaneString], together: int) -> None:
        self.lanes = strings[0].lanes
        self.at = 2 * self.lanes  # the room below is for the words that a join puts back
        room = self.at + 1 + max((string.end - string.header) // 2 for string in strings)
        self.words = np.empty(together * room, np.uint16)
        self.cursors = np.empty((together, len(CURSOR)), np.int64)
        self.states = np.empty(together * self.lanes, np.int64)


class Reading:
    """A lane string being read a slice at a time."""

    def __init__(self, engine: Engine, tables: CdfTables, data: bytes, string: LaneString) -> None:
        self._engine, self._tables, self._string = engine, tables, string
        self._data, buffers = np.frombuffer(data, np.uint8), _Buffers([string], 1)
        self._buffers, self._cursor = buffers, buffers.cursors[0]
        status = engine.lanes.start_string(
            self._data, string.header, string.end, string.symbols, string.tail, buffers.words, buffers.at,
            self._cursor, buffers.states,
        )  # fmt: skip
        self.check(status)

    @property
    def parts(self) -> tuple[npt.NDArray[np.uint16], Int64s, Int64s]:
        """The words, the cursor and the states, which move on as symbols are popped, here or elsewhere."""
        return self._buffers.words, self._cursor, self._buffers.states

    def pop(self, rows: Rows, first: int, count: int, out: Integers) -> None:
        """Decodes the next ``count`` symbols to ``out[first]`` and on."""
        engine, part = self._engine, Series(first, 0, [count])
        if engine.together(self._tables, self._string.lanes):
            no_heads = np.empty((0, 4), np.int64)
            status, _ = engine._pop_vectors(self._tables, self._buffers, self._data, no_heads, rows, part, out)
        else:
            form = flat(self._tables)
            status = engine.lanes.pop_string(
                self._buffers.words, self._data, self._cursor, self._buffers.states, rows.argument, first, count,
                form.rows, form.cdf, form.buckets, out,
            )  # fmt: skip
        self.check(status, rows)

    def finish(self) -> None:
        """Raises :class:`~tinify.errors.CorruptStreamError` unless the string was consumed exactly."""
        end, escaped = self._string.end, self._string.escaped
        self.check(self._engine.lanes.finish_string(self._cursor, self._buffers.states, end, escaped))

    def check(self, status: int, rows: Rows | None = None) -> None:
        """Raises what a kernel's status means."""
        if status != FINE:
            refuse(status, self._string.end - self._string.begin, rows, self._tables)


_REASONS = {
    NOT_MET: "its lanes do not meet",
    BAD_START: "a lane begins out of range",
    BAD_END: "it does not end with its last symbol",
}


def refuse(status: int, size: int, rows: Rows | None, tables: CdfTables) -> NoReturn:
    """Raises what a kernel's status means, for a string of ``size`` bytes."""
    if status == OTHER_ROWS and rows is not None:
        rows.check(len(tables))
    if status == TOO_WIDE:
        raise InputError("out holds int16 and a symbol of the string does not fit: decode into int32")
    corrupt(size, _REASONS.get(status, "it ends too early, or an escape is out of range"))
