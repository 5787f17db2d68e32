"""rANS with interleaved lanes in vector registers, to the bytes of :mod:`tinify.coders.rans_lanes`.

One string alone, or several together: a processor codes 64 lanes in little more time than 32, so that two strings of 32
lanes, or four of 8, take hardly longer than one. What is left over of a string, its tail and what its neighbours do not
have, falls to the scalar kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numba as nb
import numpy as np

from tinify.coders.rans_format import (
    END,
    ESCAPE,
    ESCAPED,
    FINE,
    FLOOR,
    JOIN,
    LANE,
    LANES,
    OTHER_ROWS,
    UNSOUND,
    WORD,
)
from tinify.coders.rans_kernels import (
    INPUT,
    ROWS,
    Bytes,
    Int32s,
    Int64s,
    Words,
    array,
    check_symbol,
    copy_bytes,
    find_bin,
    fold,
    kernel,
    read_escape,
    row_of,
    types,
    unfold,
    wide,
    write_escape,
)
from tinify.coders.rans_lanes import begin_string, finish_string, pop_string, push_lanes, start_string
from tinify.coders.vector_code import WIDTH
from tinify.coders.vector_steps import first_lane, load, look, places, pop, push, rows_at, store

TOGETHER = {8: 4, 32: 2}
"""How many strings are coded together, by their number of lanes; more take longer to compile than they save."""
_ENTRIES = array(nb.uint64, readonly=True)
_HEADS = array(nb.int64, axes=2, readonly=True)


@kernel()
def _write_escapes(
    escaped: int, symbols: Any, indexes: Any, first: int, lanes: int, rows: Int32s, escapes: Bytes, e: int
) -> int:
    """Writes the escapes of a string's lanes, the last lane first; returns where the next one goes."""
    for lane in range(lanes - 1, -1, -1):
        if escaped >> lane & 1:
            row = row_of(indexes, first + lane)
            folded = fold(wide(symbols[first + lane]) - wide(rows[row, 1]), wide(rows[row, 2]))
            e = write_escape(folded, escapes, e)
    return e


@kernel()
def _append(source: Any, begin: int, end: int, target: Any, at: int) -> int:
    """Copies a part of an array to another one; returns where the next part goes."""
    size = end - begin
    copy_bytes(source, begin * source.itemsize, target, at * target.itemsize, size * source.itemsize)
    return at + size


@kernel()
def _search(
    shared: int,
    states: Int64s,
    entries: Int64s,
    indexes: Any,
    first: int,
    stride: int,
    lanes: int,
    found: Any,
    cdf: Int32s,
    buckets: Int32s,
) -> int:
    """Finds the entries of the lanes in ``shared``, which no table resolves; returns a mask of the escapes."""
    escaped = 0
    while shared:
        lane = first_lane(shared)
        shared &= shared - 1
        row = row_of(indexes, first + (lane // lanes) * stride + lane % lanes)
        entries[lane] = wide(found[find_bin(states[lane] & 65535, row, cdf, buckets)])
        if entries[lane] >> 48 == ESCAPED:
            escaped |= wide(1) << lane
    return escaped


@kernel()
def _read_escapes(
    escaped: int, data: Bytes, cursor: Int64s, indexes: Any, first: int, lanes: int, rows: Int32s, out: Any
) -> int:
    """Reads the escapes of a string's lanes into ``out``; returns how it ended."""
    for lane in range(lanes):
        if escaped >> lane & 1:
            row = row_of(indexes, first + lane)
            folded, cursor[ESCAPE] = read_escape(data, cursor[ESCAPE], cursor[FLOOR])
            value = unfold(folded, wide(rows[row, 2])) + rows[row, 1]
            status = check_symbol(value, out) if folded >= 0 else UNSOUND
            if status != FINE:
                return status
            out[first + lane] = value
    return FINE


@kernel()
def _steps_in_run(indexes: Any, first: int, stride: int, strings: int, lanes: int, steps: int) -> int:
    """How many of the next steps have the rows of the first: as long as no string's run ends."""
    for string in range(strings):
        left = indexes[1] - (first + string * stride) % indexes[1]
        steps = min(steps, max(1, left // lanes))
    return steps


def _push_strings(registers: int, strings: int) -> Callable[..., Any]:
    all_registers, lanes = registers * strings, registers * WIDTH

    def push_strings(
        symbols: Any,
        indexes: Any,
        first: int,
        stride: int,
        counts: Int64s,
        rows: Int32s,
        cdf: Int32s,
        packed_rows: Any,
        packed_entries: Any,
        all_states: Int64s,
        scratch: Words,
        escape_scratch: Bytes,
        words: Words,
        escapes: Bytes,
        forks: bool,
        written: Any,
    ) -> int:
        """Strings that begin every ``stride`` symbols, so many together, one after another in ``words``.

        ``written`` is told of each what :func:`~tinify.coders.rans_lanes.push_string` tells, save that it is told where
        words and escapes end. Returns how it ended.
        """
        room, escape_room = scratch.size // strings, escape_scratch.size // strings
        ends, escape_ends = np.empty(strings, np.int64), np.empty(strings, np.int64)
        word, escape = 0, 0
        for group in range(0, counts.size, strings):
            states = all_states[group * lanes : (group + strings) * lanes]
            base = first + group * stride
            together = wide(counts[group])
            for string in range(strings):
                own = states[string * lanes : (string + 1) * lanes]
                left, ends[string], escape_ends[string] = begin_string(
                    symbols, indexes, base + string * stride, counts[group + string], rows, cdf, own,
                    scratch, (string + 1) * room, escape_scratch, string * escape_room, forks,
                )  # fmt: skip
                if left < 0:
                    return OTHER_ROWS
                written[0, group + string] = left
                together = min(together, left // lanes * lanes)
            for string in range(strings):
                own = states[string * lanes : (string + 1) * lanes]
                begin, more = base + string * stride + together, written[0, group + string] - together
                left, ends[string], escape_ends[string] = push_lanes(
                    symbols, indexes, begin, more, rows, cdf, own, 1 << 62, lanes,
                    scratch, ends[string], escape_scratch, escape_ends[string],
                )  # fmt: skip
                if left < 0:
                    return OTHER_ROWS
            x = load(states, all_registers)
            at = places(ends, strings)
            for i in range(base + together - lanes, base - 1, -lanes):
                here, wrong = rows_at(indexes, i, stride, rows.shape[0], all_registers, strings, False)
                if wrong:
                    return OTHER_ROWS
                x, at, escaped = push(x, here, symbols, i, stride, packed_rows, packed_entries, scratch, at)
                if escaped:
                    for string in range(strings):
                        escape_ends[string] = _write_escapes(
                            escaped >> (string * lanes), symbols, indexes, i + string * stride, lanes, rows,
                            escape_scratch, escape_ends[string],
                        )  # fmt: skip
            store(x, states)
            for string in range(strings):
                word = _append(scratch, at[string], (string + 1) * room, words, word)
                escape = _append(escape_scratch, string * escape_room, escape_ends[string], escapes, escape)
                written[1, group + string], written[2, group + string] = word, escape
        return FINE

    return push_strings


def _pop_strings(registers: int, strings: int, runs: bool) -> Callable[..., Any]:
    all_registers, lanes = registers * strings, registers * WIDTH
    # Of a row for many lanes most slots are resolved at once, so that few branches are taken; else most of them are.
    branch = 2 if runs else WIDTH

    def pop_strings(
        words: Words,
        data: Bytes,
        cursors: Any,
        states: Int64s,
        heads: Any,
        indexes: Any,
        first: int,
        stride: int,
        counts: Int64s,
        table: Any,
        found: Any,
        rows: Int32s,
        cdf: Int32s,
        buckets: Int32s,
        out: Any,
    ) -> tuple[int, int]:
        """Decodes strings whose symbols begin every ``stride`` symbols; returns how it ended and in which string.

        Of each string ``heads`` has where its states stand, where it ends, its tail and whether it has escapes. Without
        them the only string, or all that are read together, go on where the cursors say.
        """
        fresh = heads.shape[0] > 0
        room = words.size // strings
        seen_states, seen_entries = np.empty(WIDTH * all_registers, np.int64), np.empty(WIDTH * all_registers, np.int64)
        begins = np.empty(strings, np.int64)
        for group in range(0, counts.size, strings):
            if fresh:
                for string in range(strings):
                    head, own = heads[group + string], states[string * lanes : (string + 1) * lanes]
                    status = start_string(
                        data, head[0], head[1], counts[group + string], head[2], words, string * room + 2 * lanes,
                        cursors[string], own,
                    )  # fmt: skip
                    if status != FINE:
                        return status, group + string
            base = first + group * stride
            together = wide(counts[group])
            for string in range(strings):
                limit = wide(counts[group + string]) if cursors[string, LANES] == lanes else 0
                if cursors[string, JOIN] >= 0:
                    limit = min(limit, cursors[string, JOIN])
                together = min(together, limit)
            done = 0
            if cursors[0, LANE] > 0:  # one string alone, amid its lanes
                done = min(lanes - cursors[0, LANE], together)
                status = pop_string(words, data, cursors[0], states, indexes, base, done, rows, cdf, buckets, out)
                if status != FINE:
                    return status, group
            begun = done
            x = load(states, all_registers)
            for string in range(strings):
                begins[string] = cursors[string, WORD]
            at = places(begins, strings)
            while True:
                steps = (together - done) // lanes
                for string in range(strings):  # no step reads more words than there are lanes
                    steps = min(steps, (cursors[string, END] - at[string]) // lanes)
                if steps <= 0:
                    break
                if runs:
                    steps = _steps_in_run(indexes, base + done, stride, strings, lanes, steps)
                here, wrong = rows_at(indexes, base + done, stride, rows.shape[0], all_registers, strings, True)
                for i in range(base + done, base + done + steps * lanes, lanes):
                    if not runs:
                        here, wrong = rows_at(indexes, i, stride, rows.shape[0], all_registers, strings, True)
                        if wrong:
                            return OTHER_ROWS, group
                    entries, shared = look(x, here, table, branch)
                    escaped = 0
                    if shared:
                        store(x, seen_states)
                        store(entries, seen_entries)
                        escaped = _search(
                            shared, seen_states, seen_entries, indexes, i, stride, lanes, found, cdf, buckets
                        )
                        entries = load(seen_entries, all_registers)
                    x, at = pop(x, entries, words, at, out, i, stride)
                    if escaped:
                        for string in range(strings):
                            status = _read_escapes(
                                escaped >> (string * lanes), data, cursors[string], indexes, i + string * stride, lanes,
                                rows, out,
                            )  # fmt: skip
                            if status != FINE:
                                return status, group
                done += steps * lanes
            store(x, states)
            for string in range(strings):
                cursor = cursors[string]
                cursor[WORD] = at[string]
                if cursor[JOIN] > 0:
                    cursor[JOIN] -= done - begun
                status = pop_string(
                    words, data, cursor, states[string * lanes : (string + 1) * lanes], indexes,
                    base + string * stride + done, counts[group + string] - done, rows, cdf, buckets, out,
                )  # fmt: skip
                if status == FINE and fresh:
                    head = heads[group + string]
                    status = finish_string(cursor, states[string * lanes : (string + 1) * lanes], head[1], head[3])
                if status != FINE:
                    return status, group + string
        return FINE, 0

    return pop_strings


def _rows_type(index: Any, runs: bool) -> Any:
    kind = array(nb.from_dtype(index), readonly=True)
    return types.Tuple((kind, types.int64)) if runs else kind


@cache
def pusher(lanes: int, strings: int, symbol: Any, index: Any, runs: bool) -> Any:
    """The kernel that codes so many strings of so many lanes together, compiled for these numpy types of items."""
    place, words, octets = types.int64, array(nb.uint16), array(nb.uint8)
    signature = types.int64(
        array(nb.from_dtype(symbol), readonly=True), _rows_type(index, runs), place, place, array(nb.int64),
        ROWS, INPUT, _ENTRIES, array(nb.uint32, readonly=True), array(nb.int64), words, octets, words, octets,
        types.boolean, array(nb.int64, axes=2),
    )  # fmt: skip
    return kernel(signature)(_push_strings(lanes // WIDTH, strings))


@cache
def popper(lanes: int, strings: int, symbol: Any, index: Any, runs: bool) -> Any:
    """The kernel that decodes so many strings of so many lanes together, compiled for these numpy types of items."""
    place = types.int64
    signature = types.UniTuple(types.int64, 2)(
        array(nb.uint16), array(nb.uint8, readonly=True), array(nb.int64, axes=2), array(nb.int64), _HEADS,
        _rows_type(index, runs), place, place, array(nb.int64), _ENTRIES, _ENTRIES, ROWS, INPUT, INPUT,
        array(nb.from_dtype(symbol)),
    )  # fmt: skip
    return kernel(signature)(_pop_strings(lanes // WIDTH, strings, runs))
