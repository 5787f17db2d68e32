"""Vector instructions for numba: the type of lanes in registers, and what writes LLVM's instructions for them.

A value of type :class:`Lanes` is eight 64-bit integers a register, in as many registers as it says: the lanes of one
string, or of several strings one after another.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

import llvmlite.binding as llvm
import numba as nb
from llvmlite import ir
from numba import extending
from numba.core import datamodel

WIDTH = 8
"""Lanes in a register."""
# Loosely typed, because numba has its own idea of what a type is.
config: Any = nb.core.config
models: Any = datamodel.models
types: Any = nb.types

i64, i32, i16, i8 = (ir.IntType(bits) for bits in (64, 32, 16, 8))
v64, v32, v16, v1 = (ir.VectorType(of, WIDTH) for of in (i64, i32, i16, ir.IntType(1)))
v8 = ir.VectorType(i8, 2 * WIDTH)
doubles = ir.VectorType(ir.DoubleType(), WIDTH)


@cache
def features() -> frozenset[str]:
    """What the processor that numba compiles for can do.

    "vectors": AVX2 at least. "convert": 64-bit integers to float64 and back. "spread": words to the lanes of a mask.
    "fma": products of 52 bits. The last three are of AVX-512.
    """
    if config.DISABLE_JIT:
        return frozenset()
    if config.CPU_NAME in (None, "host") and not config.CPU_FEATURES:
        has = {name for name, there in llvm.get_host_cpu_features().items() if there}
        wide = {"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= has
        found = {
            "vectors": wide or "avx2" in has,
            "convert": wide,
            "spread": wide and "avx512vbmi2" in has,
            "fma": wide and "avx512ifma" in has,
        }
        return frozenset(name for name, there in found.items() if there)
    # Another processor was named: LLVM tells what it has only by what it writes for it.
    code = f"""
        declare <8 x i16> @llvm.masked.expandload.v8i16(ptr, <8 x i1>, <8 x i16>)
        define <8 x i16> @spread(ptr %p, <8 x i1> %m, <8 x i16> %x) {{
            %y = call <8 x i16> @llvm.masked.expandload.v8i16(ptr %p, <8 x i1> %m, <8 x i16> %x)
            ret <8 x i16> %y
        }}
        define {doubles} @convert({v64} %x) {{ %y = uitofp {v64} %x to {doubles} ret {doubles} %y }}
        define {v64} @add({v64} %x, {v64} %y) {{ %z = add {v64} %x, %y ret {v64} %z }}
    """
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple()
    machine = target.create_target_machine(cpu=config.CPU_NAME or "", features=config.CPU_FEATURES or "", opt=2)
    written = machine.emit_assembly(llvm.parse_assembly(code))
    signs = {"convert": "vcvtuqq2pd", "vectors": "vpaddq.*[yz]mm", "spread": "vpexpandw"}
    return frozenset(name for name, sign in signs.items() if re.search(sign, written))


class Lanes(types.Type):  # type: ignore[misc]
    """64-bit integers in ``registers`` vector registers."""

    def __init__(self, registers: int) -> None:
        self.registers = registers
        super().__init__(name=f"Lanes({registers})")


class _LanesModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, ir.ArrayType(v64, kind.registers))


extending.register_model(Lanes)(_LanesModel)


class Code:
    """Writes vector instructions."""

    def __init__(self, context: Any, builder: Any) -> None:
        self.context, self.b, self.module = context, builder, builder.module

    def splat(self, value: Any) -> Any:
        if isinstance(value, int):
            return ir.Constant(v64, [value] * WIDTH)
        first = self.b.insert_element(ir.Constant(v64, ir.Undefined), value, ir.Constant(i32, 0))
        return self.b.shuffle_vector(first, ir.Constant(v64, ir.Undefined), ir.Constant(v32, [0] * WIDTH))

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

    def address(self, kind: Any, array: Any) -> Any:
        """Where the items of an array begin."""
        return self.b.ptrtoint(self.context.make_array(kind)(self.context, self.b, array).data, i64)

    def items(self, kind: Any, array: Any, at: Any) -> Any:
        """Eight items of an array, in 64 bits each."""
        bits = kind.dtype.bitwidth
        place = self.b.add(self.address(kind, array), self.b.mul(at, ir.Constant(i64, bits // 8)))
        loaded = self.load(place, ir.VectorType(ir.IntType(bits), WIDTH), bits // 8)
        return self.b.sext(loaded, v64) if kind.dtype.signed else self.b.zext(loaded, v64)

    def fetch(self, kind: Any, array: Any, at: Any, ahead: int, write: bool = False) -> None:
        """Asks for the items ``ahead`` bytes further on: the processor's own foresight ends with a page of memory."""
        bits = kind.dtype.bitwidth
        place = self.b.add(self.address(kind, array), self.b.mul(at, ir.Constant(i64, bits // 8)))
        place = self.b.inttoptr(self.b.add(place, ir.Constant(i64, ahead)), i8.as_pointer())
        function = self.function("llvm.prefetch.p0", ir.VoidType(), [i8.as_pointer(), i32, i32, i32])
        self.b.call(function, [place, ir.Constant(i32, int(write)), ir.Constant(i32, 3), ir.Constant(i32, 1)])

    def gather(self, address: Any, places: Any, kind: Any, mask: Any = None, rest: Any = None) -> Any:
        bits = kind.element.width
        shifted = self.b.shl(places, self.splat({32: 2, 64: 3}[bits]))
        pointers = self.b.inttoptr(
            self.b.add(self.splat(address), shifted), ir.VectorType(kind.element.as_pointer(), WIDTH)
        )
        name = f"llvm.masked.gather.v{WIDTH}i{bits}.v{WIDTH}p0"
        function = self.function(name, kind, [pointers.type, i32, v1, kind])
        mask = mask or ir.Constant(v1, [1] * WIDTH)
        rest = rest or ir.Constant(kind, [0] * WIDTH)
        return self.b.call(function, [pointers, ir.Constant(i32, bits // 8), mask, rest])

    def bits(self, masks: list[Any]) -> Any:
        """The masks of all registers in one integer, the first register's lowest."""
        all_ = ir.Constant(i64, 0)
        for place, mask in enumerate(masks):
            one = self.b.zext(self.b.bitcast(mask, i8), i64)
            all_ = self.b.or_(all_, self.b.shl(one, ir.Constant(i64, WIDTH * place)))
        return all_

    def count(self, mask: Any) -> Any:
        function = self.function(f"llvm.ctpop.i{WIDTH}", i8, [i8])
        return self.b.zext(self.b.call(function, [self.b.bitcast(mask, i8)]), i64)

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        """``a * b + c`` for factors below 2^32 whose product is below 2^52."""
        if "fma" not in features():
            return self.b.add(self.b.mul(self.low(a, 32), self.low(b, 32)), c)
        # One instruction; LLVM would take a slower multiplication of 64 bits.
        function = self.function("llvm.x86.avx512.vpmadd52l.uq.512", v64, [v64, v64, v64])
        return self.b.call(function, [c, a, b])

    def quotient(self, x: Any, width: Any) -> Any:
        """``x // width``, through float64: exact for ``x`` below ``width << 32``."""
        if "convert" in features():
            divided = self.b.fdiv(self.b.uitofp(x, doubles), self.b.uitofp(width, doubles))
            return self.b.fptoui(divided, v64)
        # The bits of 2^52 + n, a float64, are those of 2^52 with n added to them.
        shift, bits = ir.Constant(doubles, [2.0**52] * WIDTH), self.splat(0x433 << 52)
        over, under = (self.b.fsub(self.b.bitcast(self.b.or_(value, bits), doubles), shift) for value in (x, width))
        floor = self.function(f"llvm.floor.v{WIDTH}f64", doubles, [doubles])
        whole = self.b.call(floor, [self.b.fdiv(over, under)])
        return self.b.xor(self.b.bitcast(self.b.fadd(whole, shift), v64), bits)

    def spread(self, address: Any, mask: Any) -> Any:
        """The next words, one for each lane of the mask, in 64 bits; without VBMI2 it reads eight words always."""
        if "spread" in features():
            function = self.function(f"llvm.masked.expandload.v{WIDTH}i16", v16, [i16.as_pointer(), v1, v16])
            nothing = ir.Constant(v16, [0] * WIDTH)
            return self.b.zext(self.b.call(function, [self.b.inttoptr(address, i16.as_pointer()), mask, nothing]), v64)
        moved = self.shuffle(self.load(address, v8, 2), mask, "spread", _spread_order)
        return self.b.zext(self.b.bitcast(moved, v16), v64)

    def pack(self, x: Any, end: Any, mask: Any) -> Any:
        """Writes the low words of the lanes of the mask up to ``end``, and anything below; returns where they begin."""
        # A shuffle and a plain store take less time than VBMI2's compressing store.
        moved = self.shuffle(self.b.bitcast(self.b.trunc(x, v16), v8), mask, "pack", _pack_order)
        self.store(moved, self.b.sub(end, ir.Constant(i64, 2 * WIDTH)), 2)
        return self.b.sub(end, self.b.shl(self.count(mask), ir.Constant(i64, 1)))

    def shuffle(self, x: Any, mask: Any, name: str, order: Callable[[int], list[int]]) -> Any:
        """Sixteen bytes in the order that belongs to the mask; 128 stands for a zero."""
        name = f"tinify_{name}_orders"
        orders = self.module.globals.get(name)
        if orders is None:
            kind = ir.ArrayType(v8, 1 << WIDTH)
            orders = ir.GlobalVariable(self.module, kind, name)
            orders.linkage, orders.global_constant = "internal", True
            orders.initializer = ir.Constant(kind, [ir.Constant(v8, order(lanes)) for lanes in range(1 << WIDTH)])
        place = self.b.zext(self.b.bitcast(mask, i8), i64)
        chosen = self.b.load(self.b.gep(orders, [ir.Constant(i64, 0), place]))
        function = self.function("llvm.x86.ssse3.pshuf.b.128", v8, [v8, v8])
        return self.b.call(function, [x, chosen])

    def unresolved(self, entries: Any) -> Any:
        """The lanes whose entry has no first width: their bin lies further down."""
        return self.b.icmp_unsigned("==", self.b.and_(entries, self.splat(0xFFFF0000)), self.splat(0))

    def any_unresolved(self, entries: list[Any]) -> Any:
        """Not 0 if an entry of any lane is unresolved."""
        words = ir.VectorType(i16, 4 * WIDTH)
        least = self.b.bitcast(entries[0], words)
        minimum = self.function(f"llvm.umin.v{4 * WIDTH}i16", words, [words, words])
        for entry in entries[1:]:
            least = self.b.call(minimum, [least, self.b.bitcast(entry, words)])
        return self.bits([self.unresolved(self.b.bitcast(least, v64))])

    def nonzero(self, value: Any) -> Any:
        return self.b.icmp_unsigned("!=", value, ir.Constant(i64, 0))

    def registers(self, kind: Any, x: Any) -> list[Any]:
        return [self.b.extract_value(x, place) for place in range(kind.registers)]

    def lanes(self, registers: list[Any]) -> Any:
        x = ir.Constant(ir.ArrayType(v64, len(registers)), ir.Undefined)
        for place, register in enumerate(registers):
            x = self.b.insert_value(x, register, place)
        return x

    def place(self, first: Any, stride: Any, register: int, of_string: int) -> Any:
        """Where the items of a register stand, of which each string has ``of_string``."""
        string, within = divmod(register, of_string)
        start = self.b.add(first, self.b.mul(stride, ir.Constant(i64, string)))
        return self.b.add(start, ir.Constant(i64, WIDTH * within))


def _spread_order(lanes: int) -> list[int]:
    order, word = [], 0
    for lane in range(WIDTH):
        taken = lanes >> lane & 1
        order += [2 * word, 2 * word + 1] if taken else [128, 128]
        word += taken
    return order


def _pack_order(lanes: int) -> list[int]:
    kept = [byte for lane in range(WIDTH) if lanes >> lane & 1 for byte in (2 * lane, 2 * lane + 1)]
    return [128] * (2 * WIDTH - len(kept)) + kept
