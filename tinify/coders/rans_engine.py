"""Which kernels code the lane strings of rANS, and how they are called."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, pairwise
from typing import Any, NoReturn, cast

import numpy as np
import numpy.typing as npt

from tinify.coders.rans_format import CURSOR, ESCAPE_BYTES, FINE, NOT_MET, OTHER_ROWS, TOO_WIDE
from tinify.coders.rans_strings import LaneString, compose, corrupt
from tinify.coders.rans_tables import flat, packed
from tinify.coders.rows import Integers, Rows
from tinify.coders.tables import CdfTables
from tinify.errors import InputError

Int64s = npt.NDArray[np.int64]
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
    ) -> list[bytes]:
        """The lane strings of a series."""
        together = self.together(tables, lanes)
        if not together:
            return [
                self._push_one(tables, symbols, rows, series[at : at + 1], lanes, forks) for at in range(len(series))
            ]
        whole = len(series) - len(series) % together
        strings = []
        for part, number in (series[:whole], together), (series[whole:], 1):
            if len(part):
                strings += self._push_vectors(tables, symbols, rows, part, lanes, forks, number)
        return strings

    def _push_one(
        self, tables: CdfTables, symbols: Integers, rows: Rows, one: Series, lanes: int, forks: bool
    ) -> bytes:
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
    ) -> list[bytes]:
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


def _compose(count: int, left: int, states: Int64s, words: Any, escapes: Any, forks: bool) -> bytes:
    if not forks:
        return compose(states, 0, words, escapes)
    return compose(states if left else states[:1], count - left if left else 0, words, escapes)


class Reading:
    """Lane strings of the same number of lanes being read, those of a series or one a slice at a time."""

    def __init__(self, engine: Engine, tables: CdfTables, strings: Sequence[LaneString]) -> None:
        self._engine, self._tables, self._strings = engine, tables, strings
        lanes = self._lanes = strings[0].lanes
        rooms = [0, *accumulate(string.words + 1 for string in strings)]
        self._begins = rooms[:-1]
        self._words = np.empty(rooms[-1], np.uint16)
        self._cursors = np.empty((len(strings), len(CURSOR)), np.int64)
        self._states = np.empty((len(strings), lanes), np.int64)
        for string, begin, cursor, own in self._each():
            string.start(self._words, begin, cursor, own)
        self._data = np.frombuffer(strings[0].data, np.uint8)

    def pop(self, rows: Rows, series: Series, out: Integers) -> None:
        """Decodes the next symbols of each string to where the series says."""
        together = self._engine.together(self._tables, self._lanes)
        whole = len(series) - len(series) % (together or 1)
        for begin, end, number in (0, whole, together), (whole, len(series), 1):
            if begin == end:
                continue
            part, cursors, states = series[begin:end], self._cursors[begin:end], self._states[begin:end]
            if together:
                status = self._pop_vectors(rows, part, cursors, states, out, number)
            else:
                status = self._pop_scalar(rows, part, cursors, states, out)
            if status != FINE:
                refuse(status, self._strings[begin].end - self._strings[begin].begin, rows, self._tables)

    def _pop_vectors(
        self, rows: Rows, part: Series, cursors: Int64s, states: Int64s, out: Integers, together: int
    ) -> int:
        from tinify.coders.rans_vectors import popper

        form, pack = flat(self._tables), cast(Any, packed(self._tables))
        kernel = popper(self._lanes, together, out.dtype, rows.values.dtype, rows.length > 1)
        status: int = kernel(
            self._words, self._data, cursors, states.reshape(-1), rows.argument, part.first, part.stride,
            np.array(part.counts), pack.table, pack.found, form.rows, form.cdf, form.buckets, out,
        )  # fmt: skip
        return status

    def _pop_scalar(self, rows: Rows, part: Series, cursors: Int64s, states: Int64s, out: Integers) -> int:
        form = flat(self._tables)
        for at, (count, cursor, own) in enumerate(zip(part.counts, cursors, states, strict=True)):
            status: int = self._engine.lanes.pop_string(
                self._words, self._data, cursor, own, rows.argument, part.first + at * part.stride, count,
                form.rows, form.cdf, form.buckets, out,
            )  # fmt: skip
            if status != FINE:
                return status
        return FINE

    def finish(self) -> None:
        """Raises :class:`~tinify.errors.CorruptStreamError` unless all strings were consumed exactly."""
        for string, begin, cursor, own in self._each():
            string.finish(begin, cursor, own)

    def _each(self) -> Iterator[tuple[LaneString, int, Int64s, Int64s]]:
        return zip(self._strings, self._begins, self._cursors, self._states, strict=True)


def refuse(status: int, size: int, rows: Rows, tables: CdfTables) -> NoReturn:
    """Raises what a kernel's status means, for a string of ``size`` bytes."""
    if status == OTHER_ROWS:
        rows.check(len(tables))
    if status == TOO_WIDE:
        raise InputError("out holds int16 and a symbol of the string does not fit: decode into int32")
    corrupt(size, "its lanes do not meet" if status == NOT_MET else "it ends too early, or an escape is out of range")
