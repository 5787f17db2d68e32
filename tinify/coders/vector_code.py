"""Eight lanes of rANS in vector registers: numba intrinsics that write LLVM's vector instructions.

They read and write by address and check nothing; :mod:`tinify.coders.rans_vectors` calls them within bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numba as nb
from llvmlite import ir
from numba import extending
from numba.core import datamodel

WIDTH = 8
"""Lanes in a vector."""
ESCAPED = -(2**15)
"""What stands for the escape among the symbols of packed tables."""

_NEEDED = ("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vbmi2")

# Loosely typed, because numba has its own idea of what a type is.
config: Any = nb.core.config
models: Any = datamodel.models
types: Any = nb.types

_i64, _i32, _i16 = ir.IntType(64), ir.IntType(32), ir.IntType(16)
_v64, _v32, _v16, _v1 = (ir.VectorType(of, WIDTH) for of in (_i64, _i32, _i16, ir.IntType(1)))
_doubles = ir.VectorType(ir.DoubleType(), WIDTH)


def intrinsic(function: Callable[..., Any]) -> Any:
    """numba's: what it makes is called without the first argument, from compiled code alone."""
    return extending.intrinsic(function)


def available() -> bool:
    """Whether this process may run the vector kernels: the processor can, and numba was not told of another one."""
    if config.DISABLE_JIT or (config.CPU_NAME and config.CPU_NAME != "host"):
        return False
    features = llvm.get_host_cpu_features()
    return all(features.get(name, False) for name in _NEEDED)


class _Vector(types.Type):  # type: ignore[misc]
    """Eight 64-bit integers, in a register."""

    def __init__(self) -> None:
        super().__init__(name="eight_int64")


class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _v64)


extending.register_model(_Vector)(_VectorModel)
_vector = _Vector()
_address = types.int64


class _Code:
    """Writes vector instructions."""

    def __init__(self, builder: Any) -> None:
        self.b, self.module = builder, builder.module

    def splat(self, value: Any) -> Any:
        if isinstance(value, int):
            return ir.Constant(_v64, [value] * WIDTH)
        first = self.b.insert_element(ir.Constant(_v64, ir.Undefined), value, ir.Constant(_i32, 0))
        return self.b.shuffle_vector(first, ir.Constant(_v64, ir.Undefined), ir.Constant(_v32, [0] * WIDTH))

    def low(self, x: Any, bits: int) -> Any:
        return self.b.and_(x, self.splat((1 << bits) - 1))

    def high(self, x: Any, bits: int) -> Any:
        return self.b.lshr(x, self.splat(bits))

    def function(self, name: str, result: Any, arguments: list[Any]) -> Any:
        found = self.module.globals.get(name)
        return found or ir.Function(self.module, ir.FunctionType(result, arguments), name)

    def load(self, address: Any, kind: Any, align: int) -> Any:
        loaded = self.b.load(self.b.inttoptr(address, kind.as_pointer()))
        loaded.align = align
        return loaded

    def store(self, value: Any, address: Any, align: int) -> None:
        self.b.store(value, self.b.inttoptr(address, value.type.as_pointer())).align = align

    def gather(self, address: Any, places: Any, kind: Any, mask: Any = None, rest: Any = None) -> Any:
        bits = kind.element.width
        shifted = self.b.shl(places, self.splat({32: 2, 64: 3}[bits]))
        pointers = self.b.inttoptr(
            self.b.add(self.splat(address), shifted), ir.VectorType(kind.element.as_pointer(), WIDTH)
        )
        name = f"llvm.masked.gather.v{WIDTH}i{bits}.v{WIDTH}p0"
        function = self.function(name, kind, [pointers.type, _i32, _v1, kind])
        mask = mask or ir.Constant(_v1, [1] * WIDTH)
        rest = rest or ir.Constant(kind, [0] * WIDTH)
        return self.b.call(function, [pointers, ir.Constant(_i32, bits // 8), mask, rest])

    def bits(self, mask: Any) -> Any:
        return self.b.zext(self.b.bitcast(mask, ir.IntType(WIDTH)), _i64)

    def count(self, mask: Any) -> Any:
        byte = ir.IntType(WIDTH)
        function = self.function(f"llvm.ctpop.i{WIDTH}", byte, [byte])
        return self.b.zext(self.b.call(function, [self.b.bitcast(mask, byte)]), _i64)

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        """``a * b + c`` for factors below 2^32 whose product is below 2^52."""
        if not llvm.get_host_cpu_features().get("avx512ifma", False):
            return self.b.add(self.b.mul(self.low(a, 32), self.low(b, 32)), c)
        # One instruction; LLVM would take a slower multiplication of 64 bits.
        function = self.function("llvm.x86.avx512.vpmadd52l.uq.512", _v64, [_v64, _v64, _v64])
        return self.b.call(function, [c, a, b])

    def unresolved(self, entries: Any) -> Any:
        """The lanes whose entry has no first width: their bin lies further down."""
        return self.b.icmp_unsigned("==", self.b.and_(entries, self.splat(0xFFFF0000)), self.splat(0))


def _returning(context: Any, builder: Any, signature: Any, values: list[Any]) -> Any:
    return context.make_tuple(builder, signature.return_type, values)


@intrinsic
def load(typing: Any, address: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _Code(builder).load(arguments[0], _v64, 8)

    return _vector(_address), code


@intrinsic
def store(typing: Any, x: Any, address: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _Code(builder).store(arguments[0], arguments[1], 8)
        return context.get_dummy_value()

    return types.void(_vector, _address), code


@intrinsic
def push(typing: Any, x: Any, symbols: Any, indexes: Any, rows: Any, entries: Any, words_end: Any) -> Any:
    """One symbol of each lane: the states after it, how many words went out, and a mask of the escapes."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        c, b = _Code(builder), builder
        x, symbols, indexes, rows, entries, end = arguments
        row = c.gather(rows, b.zext(c.load(indexes, _v32, 4), _v64), _v64)
        base, below, escape = c.low(row, 32), c.low(c.high(row, 32), 16), c.high(row, 48)
        value = b.add(b.sext(c.load(symbols, _v32, 4), _v64), below)
        escaped = b.icmp_unsigned(">=", value, escape)
        entry = b.zext(c.gather(entries, b.add(base, b.select(escaped, escape, value)), _v32), _v64)
        start, width = c.low(entry, 16), c.high(entry, 16)
        full = b.icmp_unsigned(">=", x, b.shl(width, c.splat(32)))
        count = c.count(full)
        store = c.function(f"llvm.masked.compressstore.v{WIDTH}i16", ir.VoidType(), [_v16, _i16.as_pointer(), _v1])
        at = b.sub(end, b.shl(count, ir.Constant(_i64, 1)))
        b.call(store, [b.trunc(x, _v16), b.inttoptr(at, _i16.as_pointer()), full])
        x = b.select(full, c.high(x, 16), x)
        quotient = b.fptoui(b.fdiv(b.uitofp(x, _doubles), b.uitofp(width, _doubles)), _v64)
        x = c.multiply_add(quotient, b.sub(c.splat(65536), width), b.add(x, start))
        return _returning(context, builder, signature, [x, count, c.bits(escaped)])

    result = types.Tuple((_vector, types.int64, types.int64))
    return result(_vector, *[_address] * 5), code


@intrinsic
def look(typing: Any, x: Any, indexes: Any, table: Any) -> Any:
    """The entry of each lane's bucket, and a mask of those that more than two bins share."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        c, b = _Code(builder), builder
        x, indexes, table = arguments
        index = b.zext(c.load(indexes, _v32, 4), _v64)
        entries = c.gather(table, b.add(b.shl(index, c.splat(8)), c.high(c.low(x, 16), 8)), _v64)
        return _returning(context, builder, signature, [entries, c.bits(c.unresolved(entries))])

    return types.Tuple((_vector, types.int64))(_vector, _address, _address), code


@intrinsic
def refine(typing: Any, x: Any, entries: Any, table: Any) -> Any:
    """The same with shared buckets looked up by their parts."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        c, b = _Code(builder), builder
        x, entries, table = arguments
        place = b.add(c.high(entries, 32), c.high(c.low(x, 8), 4))
        entries = c.gather(table, place, _v64, c.unresolved(entries), entries)
        return _returning(context, builder, signature, [entries, c.bits(c.unresolved(entries))])

    return types.Tuple((_vector, types.int64))(_vector, _vector, _address), code


@intrinsic
def pop(typing: Any, x: Any, entries: Any, words: Any, out: Any) -> Any:
    """Writes each lane's symbol: the states after it, how many words were read, and a mask of the escapes."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        c, b = _Code(builder), builder
        x, entries, words, out = arguments
        first, second = c.low(c.high(entries, 16), 16), c.low(c.high(entries, 32), 16)
        into = b.sub(c.low(x, 16), c.low(entries, 16))
        after = b.icmp_unsigned(">=", into, first)
        into = b.select(after, b.sub(into, first), into)
        width = b.select(after, second, first)
        value = b.ashr(entries, c.splat(48))
        value = b.select(after, b.add(value, c.splat(1)), value)
        c.store(b.trunc(value, _v32), out, 4)
        escaped = b.icmp_signed("==", value, c.splat(ESCAPED & (2**64 - 1)))
        x = c.multiply_add(width, c.high(x, 16), into)
        low = b.icmp_unsigned("<", x, c.splat(1 << 32))
        spread = c.function(f"llvm.masked.expandload.v{WIDTH}i16", _v16, [_i16.as_pointer(), _v1, _v16])
        nothing = ir.Constant(_v16, [0] * WIDTH)
        read = b.zext(b.call(spread, [b.inttoptr(words, _i16.as_pointer()), low, nothing]), _v64)
        x = b.select(low, b.or_(b.shl(x, c.splat(16)), read), x)
        return _returning(context, builder, signature, [x, c.count(low), c.bits(escaped)])

    result = types.Tuple((_vector, types.int64, types.int64))
    return result(_vector, _vector, _address, _address), code
