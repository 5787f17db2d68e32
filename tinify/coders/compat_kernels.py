"""The inner loops of the field's strings, compiled by numba; specs/FORMAT.md says what they compute.

As in :mod:`tinify.coders.rans_kernels`, tables and indexes are sound, and of a string nothing is assumed.
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
import numpy.typing as npt
from llvmlite import ir

from tinify.coders.compat_tables import BUCKET, PART
from tinify.coders.rans_kernels import INPUT, ROWS, Int32s, Int64s, array, fold, intrinsic, kernel, types, unfold, wide

Words = npt.NDArray[np.uint32]

LOW = 1 << 31
"""Below it the state is refilled, by words of 32 bits."""
NIBBLES = 9
"""The most that an escape takes: 36 bits hold the distance between any symbol and any row."""
_TABLES = array(nb.int64, readonly=True)


@intrinsic
def _quotient(typing: Any, x: Any, inverse: Any, shift: Any) -> Any:
    """x // width, from the inverse of the width: see :mod:`tinify.coders.compat_tables`."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        i64, i128 = ir.IntType(64), ir.IntType(128)
        value, inverse, shift = arguments
        doubled = builder.zext(builder.shl(value, ir.Constant(i64, 1)), i128)
        product = builder.mul(doubled, builder.zext(inverse, i128))
        return builder.lshr(builder.trunc(builder.lshr(product, ir.Constant(i128, 64)), i64), shift)

    return types.int64(types.int64, types.int64, types.int64), code


@kernel()
def _push_nibble(x: int, nibble: int, out: Words, p: int) -> tuple[int, int]:
    if x >= 1 << 59:
        p -= 1
        out[p] = x & 0xFFFFFFFF
        x >>= 32
    return (x << 4) | nibble, p


@kernel()
def _push_escape(x: int, folded: int, out: Words, p: int) -> tuple[int, int]:
    count = 0
    while folded >> (4 * count):
        count += 1
    for place in range(count - 1, -1, -1):
        x, p = _push_nibble(x, (folded >> (4 * place)) & 15, out, p)
    return _push_nibble(x, count, out, p)


@kernel(types.UniTuple(nb.int64, 2)(INPUT, INPUT, ROWS, _TABLES, _TABLES, nb.int64, array(nb.uint32)))
def push_compat(
    symbols: Int32s, indexes: Int32s, rows: Int32s, steps: Int64s, inverses: Int64s, x: int, out: Words
) -> tuple[int, int]:
    """Codes symbols, the last one first, into the end of ``out``, which has two words for each and one more.

    Returns the state, which begins as ``x``, and where the words begin.
    """
    p = out.size
    for i in range(symbols.size - 1, -1, -1):
        row = indexes[i]
        value, escape = wide(symbols[i]) - wide(rows[row, 1]), wide(rows[row, 2])
        if value < 0 or value >= escape:
            x, p = _push_escape(x, fold(value, escape), out, p)
            value = escape
        at = wide(rows[row, 0]) + value
        step = steps[at]
        width = (step >> 16) & 0x1FFFF
        full = (x >> 47) >= width
        out[p - 1] = x & 0xFFFFFFFF  # also where it is not kept: a branch here would be mispredicted
        p -= wide(full)
        x = x >> 32 if full else x
        x += _quotient(x, inverses[at], step >> 33) * (65536 - width) + (step & 65535)
    return x, p


@kernel()
def _pop_nibble(x: int, words: Words, k: int, limit: int) -> tuple[int, int, int]:
    nibble = x & 15
    x >>= 4
    if x < LOW:
        x = (x << 32) | (wide(words[k]) if k < limit else 0)
        k += 1
    return nibble, x, k


@kernel()
def _pop_escape(x: int, words: Words, k: int, limit: int) -> tuple[int, int, int]:
    """The folded distance, -1 if it is none; the state; the next word."""
    count, x, k = _pop_nibble(x, words, k, limit)
    if count > NIBBLES:
        return -1, x, k
    folded = nibble = 0
    for place in range(count):
        nibble, x, k = _pop_nibble(x, words, k, limit)
        folded |= nibble << (4 * place)
    longer = count > 0 and nibble == 0  # than need be
    return -1 if longer else folded, x, k


@kernel(nb.int64(array(nb.uint32, readonly=True), array(nb.int64), INPUT, ROWS, _TABLES, _TABLES, array(nb.int32)))
def pop_compat(
    words: Words, state: Int64s, indexes: Int32s, rows: Int32s, steps: Int64s, table: Int64s, out: Int32s
) -> int:
    """Decodes symbols from ``state``: the state, and the position of the next word; the last word is never taken.

    Returns how many symbols were sound; ``state`` moves only if it is all of them.
    """
    x, k, limit = state[0], state[1], words.size - 1
    for i in range(indexes.size):
        row = wide(indexes[i])
        slot = x & 65535
        entry = table[(row << (16 - BUCKET)) + (slot >> BUCKET)]
        if not (entry >> 16) & 65535:
            entry = table[((entry >> 32) & 0x7FFFFFFF) + ((slot & ((1 << BUCKET) - 1)) >> PART)]
        first = (entry >> 16) & 65535
        value = (entry >> 48) & 65535
        high = x >> 16
        if first:
            distance = slot - (entry & 65535)
            second = distance >= first
            value += wide(second)
            one, two = first * high + distance, ((entry >> 32) & 65535) * high + distance - first
            x = two if second else one
        else:
            step = steps[wide(rows[row, 0]) + value]
            while slot >= (step & 65535) + ((step >> 16) & 0x1FFFF):
                value += 1
                step = steps[wide(rows[row, 0]) + value]
            x = ((step >> 16) & 0x1FFFF) * high + slot - (step & 65535)
        short = x < LOW
        x = (x << 32) | wide(words[k]) if short else x
        k += wide(short)
        if k > limit:
            return i
        escape = wide(rows[row, 2])
        if value == escape:
            folded, x, k = _pop_escape(x, words, k, limit)
            value = unfold(folded, escape)
            symbol = value + wide(rows[row, 1])
            if folded < 0 or k > limit or not -2147483648 <= symbol <= 2147483647:
                return i
        out[i] = value + wide(rows[row, 1])
    state[0], state[1] = x, k
    return indexes.size


@kernel(nb.int64(array(nb.uint32, readonly=True), array(nb.int64), ROWS, array(nb.int32)))
def pop_rows(words: Words, state: Int64s, cdfs: Int32s, out: Int32s) -> int:
    """Decodes a symbol by each row of ``cdfs``, that ends with an escape bin, which no symbol may have.

    In other things it is as :func:`pop_compat`.
    """
    x, k, limit, bins = state[0], state[1], words.size - 1, wide(cdfs.shape[1]) - 1
    for i in range(out.size):
        slot = x & 65535
        value, end = wide(0), bins
        while end - value > 1:
            middle = (value + end) >> 1
            low = cdfs[i, middle] <= slot
            value, end = (middle if low else value), (end if low else middle)
        start = wide(cdfs[i, value])
        x = (wide(cdfs[i, end]) - start) * (x >> 16) + slot - start
        short = x < LOW
        x = (x << 32) | wide(words[k]) if short else x
        k += wide(short)
        if k > limit or end == bins:
            return i
        out[i] = value
    state[0], state[1] = x, k
    return out.size
