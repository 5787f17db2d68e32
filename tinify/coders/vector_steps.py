"""The steps of rANS over vector registers, as numba intrinsics.

What is loaded and stored lies in arrays at ``first`` for the first string, at ``first + stride`` for the second, and so
on. They check nothing but the rows they are given; :mod:`tinify.coders.rans_vectors` calls them within bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import extending
from numba.core import cgutils

from tinify.coders.vector_code import WIDTH, Code, Lanes, i64, types, v32, v64

AHEAD = 2048
"""Bytes from where symbols and indexes are read or written to where they will be: they are asked for so early."""


def intrinsic(function: Callable[..., Any]) -> Any:
    """numba's: what it makes is called without the first argument, from compiled code alone."""
    return extending.intrinsic(prefer_literal=True)(function)


def _returning(c: Code, signature: Any, values: list[Any]) -> Any:
    return c.context.make_tuple(c.b, signature.return_type, values)


def _many(values: Any) -> Any:
    return types.UniTuple(types.int64, len(values))


def _integer(value: Any) -> Any:
    return types.int64


def _variable(builder: Any, value: Any) -> Any:
    code: Any = cgutils
    return code.alloca_once_value(builder, value)


@intrinsic
def load(typing: Any, array: Any, registers: Any) -> Any:
    """All lanes, from an array of int64."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        c = Code(context, builder)
        at = [ir.Constant(i64, WIDTH * place) for place in range(registers.literal_value)]
        return c.lanes([c.items(array, arguments[0], place) for place in at])

    return Lanes(registers.literal_value)(array, registers), code


@intrinsic
def store(typing: Any, x: Any, array: Any) -> Any:
    """Puts all lanes into an array of int64."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        c = Code(context, builder)
        start = c.address(array, arguments[1])
        for place, register in enumerate(c.registers(x, arguments[0])):
            c.store(register, c.b.add(start, ir.Constant(i64, 8 * WIDTH * place)), 8)
        return context.get_dummy_value()

    return types.void(x, array), code


@intrinsic
def places(typing: Any, array: Any, strings: Any) -> Any:
    """The items of an array of int64 as a tuple, which stays in registers."""
    kind = types.UniTuple(types.int64, strings.literal_value)

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        c = Code(context, builder)
        start = c.address(array, arguments[0])
        values = [c.load(c.b.add(start, ir.Constant(i64, 8 * at)), i64, 8) for at in range(kind.count)]
        return _returning(c, signature, values)

    return kind(array, strings), code


@intrinsic
def rows_at(
    typing: Any, indexes: Any, first: Any, stride: Any, count: Any, registers: Any, strings: Any, forward: Any
) -> Any:
    """The table row of each lane, and whether one of them is not below ``count``; those of runs are not checked.

    ``indexes`` is an array, or a pair of an array and the length of the runs that its items stand for. A run is no
    shorter than a string's lanes.
    """
    number = registers.literal_value
    of_string = number // strings.literal_value

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        c, b = Code(context, builder), builder
        given, first, stride, count = arguments[:4]
        if isinstance(indexes, types.BaseTuple):
            found = _runs(c, indexes, given, [c.place(first, stride, r, of_string) for r in range(number)], of_string)
        else:
            at = [c.place(first, stride, r, of_string) for r in range(number)]
            found = [c.items(indexes, given, place) for place in at]
            for place in at[::2]:
                c.fetch(indexes, given, place, AHEAD if forward.literal_value else -AHEAD)
        wrong = ir.Constant(i64, 0)
        if not isinstance(indexes, types.BaseTuple):
            wrong = c.bits([b.icmp_unsigned(">=", row, c.splat(count)) for row in found])
        return _returning(c, signature, [c.lanes(found), wrong])

    result = types.Tuple((Lanes(number), types.int64))
    return result(indexes, *map(_integer, (first, stride, count)), registers, strings, forward), code


def _runs(c: Code, kind: Any, given: Any, at: list[Any], of_string: int) -> list[Any]:
    array, length = c.b.extract_value(given, 0), c.b.extract_value(given, 1)
    start, bits = c.address(kind[0], array), kind[0].dtype.bitwidth
    one = ir.Constant(i64, 1)
    last = c.b.sub(c.context.make_array(kind[0])(c.context, c.b, array).nitems, one)

    def row(run: Any) -> Any:
        place = c.b.add(start, c.b.mul(run, ir.Constant(i64, bits // 8)))
        value = c.load(place, ir.IntType(bits), bits // 8)
        if bits < 64:
            value = c.b.sext(value, i64) if kind[0].dtype.signed else c.b.zext(value, i64)
        return c.splat(value)

    rows = []
    for begin in range(0, len(at), of_string):  # one division a string: no more than one run ends among its lanes
        run = c.b.udiv(at[begin], length)
        following = c.b.add(run, one)
        left = c.splat(c.b.sub(c.b.mul(following, length), at[begin]))
        here, there = row(run), row(c.b.select(c.b.icmp_unsigned("<", following, last), following, last))
        for register in range(of_string):
            number = ir.Constant(v64, [WIDTH * register + lane for lane in range(WIDTH)])
            rows.append(c.b.select(c.b.icmp_signed("<", number, left), here, there))
    return rows


@intrinsic
def push(
    typing: Any,
    x: Any,
    found: Any,
    symbols: Any,
    first: Any,
    stride: Any,
    rows: Any,
    entries: Any,
    words: Any,
    ends: Any,
) -> Any:
    """Codes one symbol of each lane: the states after it, where words end now, and a mask of the escapes."""
    of_string = x.registers // len(ends)

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        c, b = Code(context, builder), builder
        states, given, values, first, stride = arguments[:5]
        states, given = c.registers(x, states), c.registers(found, given)
        at_rows, at_entries, at_words = (
            c.address(kind, array) for kind, array in zip((rows, entries, words), arguments[5:8], strict=True)
        )
        end = [b.extract_value(arguments[8], string) for string in range(len(ends))]
        masks: list[Any] = [None] * x.registers
        # The last register of a string first: the words of its symbols are the last to be read.
        for register in sorted(range(x.registers), key=lambda r: (-(r % of_string), r)):
            row = c.gather(at_rows, given[register], v64)
            base, below, escape = c.low(row, 32), c.low(c.high(row, 32), 16), c.high(row, 48)
            place = c.place(first, stride, register, of_string)
            if register % 2 == 0:
                c.fetch(symbols, values, place, -AHEAD)
            value = c.items(symbols, values, place)
            value = b.add(value, below)
            masks[register] = escaped = b.icmp_unsigned(">=", value, escape)
            place = b.add(base, b.select(escaped, escape, value))
            entry = b.zext(c.gather(at_entries, place, v32), v64)
            start, width = c.low(entry, 16), c.high(entry, 16)
            state, string = states[register], register // of_string
            full = b.icmp_signed(">=", state, b.shl(width, c.splat(32)))
            address = b.add(at_words, b.shl(end[string], ir.Constant(i64, 1)))
            address = b.sub(c.pack(state, address, full), at_words)
            end[string] = b.ashr(address, ir.Constant(i64, 1))
            state = b.select(full, c.high(state, 16), state)
            states[register] = c.multiply_add(
                c.quotient(state, width), b.sub(c.splat(65536), width), b.add(state, start)
            )
        new_ends = context.make_tuple(b, _many(ends), end)
        return _returning(c, signature, [c.lanes(states), new_ends, c.bits(masks)])

    result = types.Tuple((x, _many(ends), types.int64))
    return result(x, found, symbols, types.int64, types.int64, rows, entries, words, ends), code


@intrinsic
def look(typing: Any, x: Any, found: Any, table: Any, branch: Any) -> Any:
    """The entry of each lane's slot, and a mask of those that the table does not resolve.

    There is a branch for every ``branch`` registers: whether all their lanes were resolved at the first look.
    """

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        c, b = Code(context, builder), builder
        start = c.address(table, arguments[2])
        states, rows = c.registers(x, arguments[0]), c.registers(found, arguments[1])
        entries = [
            c.gather(start, b.or_(b.shl(row, c.splat(8)), c.high(c.low(state, 16), 8)), v64)
            for state, row in zip(states, rows, strict=True)
        ]
        kept = [_variable(b, entry) for entry in entries]
        shared = _variable(b, ir.Constant(i64, 0))
        for begin in range(0, len(entries), branch.literal_value):
            some = range(begin, min(begin + branch.literal_value, len(entries)))
            with b.if_then(c.nonzero(c.any_unresolved([entries[register] for register in some])), likely=False):
                refined = {}
                for register in some:
                    state, entry = states[register], entries[register]
                    part = b.or_(c.high(entry, 32), c.high(c.low(state, 8), 4))
                    refined[register] = c.gather(start, part, v64, c.unresolved(entry), entry)
                    b.store(refined[register], kept[register])
                with b.if_then(c.nonzero(c.any_unresolved([*refined.values()])), likely=False):
                    found_here = c.bits([c.unresolved(entry) for entry in refined.values()])
                    place = ir.Constant(i64, WIDTH * begin)
                    b.store(b.or_(b.load(shared), b.shl(found_here, place)), shared)
        return _returning(c, signature, [c.lanes([b.load(place) for place in kept]), b.load(shared)])

    return types.Tuple((x, types.int64))(x, found, table, branch), code


@intrinsic
def first_lane(typing: Any, mask: Any) -> Any:
    """The lowest lane of a mask that is not empty."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        c = Code(context, builder)
        count = c.function("llvm.cttz.i64", i64, [i64, ir.IntType(1)])
        return builder.call(count, [arguments[0], ir.Constant(ir.IntType(1), 1)])

    return types.int64(types.int64), code


@intrinsic
def pop(typing: Any, x: Any, entries: Any, words: Any, begins: Any, out: Any, first: Any, stride: Any) -> Any:
    """Writes each lane's symbol: the states after it, and where words begin now."""
    of_string = x.registers // len(begins)

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        c, b = Code(context, builder), builder
        states, found = c.registers(x, arguments[0]), c.registers(entries, arguments[1])
        at_words, at_out = c.address(words, arguments[2]), c.address(out, arguments[4])
        bits = out.dtype.bitwidth
        begin = [b.extract_value(arguments[3], string) for string in range(len(begins))]
        for register in sorted(range(x.registers), key=lambda r: (r % of_string, r)):
            entry, state, string = found[register], states[register], register // of_string
            one, two = c.low(c.high(entry, 16), 16), c.low(c.high(entry, 32), 16)
            into = c.low(b.sub(state, entry), 16)
            after = b.icmp_signed(">=", into, one)
            into = b.select(after, b.sub(into, one), into)
            width = b.select(after, two, one)
            found[register] = b.select(after, b.add(entry, c.splat(1 << 48)), entry)
            state = c.multiply_add(width, c.high(state, 16), into)
            short = b.icmp_signed("<", state, c.splat(1 << 32))
            read = c.spread(b.add(at_words, b.shl(begin[string], ir.Constant(i64, 1))), short)
            states[register] = b.select(short, b.or_(b.shl(state, c.splat(16)), read), state)
            begin[string] = b.add(begin[string], c.count(short))
            place = c.place(arguments[5], arguments[6], register, of_string)
            if register % 2 == 0:
                c.fetch(out, arguments[4], place, AHEAD, write=True)
            place = b.add(at_out, b.mul(place, ir.Constant(i64, bits // 8)))
            symbols = b.trunc(b.ashr(found[register], c.splat(48)), ir.VectorType(ir.IntType(bits), WIDTH))
            c.store(symbols, place, bits // 8)
        new_begins = context.make_tuple(b, _many(begins), begin)
        return _returning(c, signature, [c.lanes(states), new_begins])

    result = types.Tuple((x, _many(begins)))
    return result(x, entries, words, begins, out, types.int64, types.int64), code
