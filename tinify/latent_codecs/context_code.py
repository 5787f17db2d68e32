"""The vector instructions of a context model's network, as a numba intrinsic: a tile of sums of products.

Every sum is a chain of fused multiply-adds in the order of its inputs. It is rounded the same on every processor, and
whatever stands beside it in the tile.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from tinify.coders.vector_code import Code, features, i8, i32, i64, types
from tinify.coders.vector_steps import intrinsic

LANES = 16
"""Floats in a vector; LLVM takes several registers for it where the processor's are narrower."""
VECTORS = 4 if "convert" in features() else 1
"""Vectors of a tile, so that it stays in the registers: 32 of AVX-512, else 16 of AVX2."""
PANEL = VECTORS * LANES
"""Outputs of a tile; weights are packed in panels of so many."""
HEIGHT = 6
"""Positions of the highest tile."""

f32 = ir.FloatType()
vector = ir.VectorType(f32, LANES)


@intrinsic
def add_products(
    typing: Any,
    height: Any,
    x: Any,
    places: Any,
    first: Any,
    offset: Any,
    count: Any,
    weights: Any,
    at: Any,
    out: Any,
    column: Any,
    stride: Any,
    ahead: Any,
    step: Any,
) -> Any:
    """Adds ``x[places[p] + offset + k] * weights[at + k * PANEL + n]`` over ``k`` to ``out[p * stride + column + n]``.

    ``p`` runs over ``height`` positions from ``first``, ``k`` from 0 to ``count`` in that order, ``n`` over a panel.
    Meanwhile it asks for the weights after those, from ``ahead`` on, ``step`` bytes for each input.
    """

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, x_, places_, first_, offset_, count_, weights_, at_, out_, column_, stride_, ahead_, step_ = arguments
        b = builder
        data = [
            context.make_array(kind)(context, b, value).data
            for kind, value in ((x, x_), (places, places_), (weights, weights_), (out, out_))
        ]
        rows = [b.add(first_, ir.Constant(i64, p)) for p in range(height.literal_value)]
        inputs = [b.gep(data[0], [b.add(b.load(b.gep(data[1], [row])), offset_)]) for row in rows]
        panel = b.gep(data[2], [at_])
        sums = [
            b.gep(data[3], [b.add(b.add(b.mul(row, stride_), column_), ir.Constant(i64, v * LANES))])
            for row in rows
            for v in range(VECTORS)
        ]
        _loop(Code(context, b), inputs, panel, count_, sums, b.gep(data[2], [ahead_]), step_)
        return context.get_dummy_value()

    return types.void(
        height,
        x,
        places,
        types.int64,
        types.int64,
        types.int64,
        weights,
        types.int64,
        out,
        types.int64,
        types.int64,
        types.int64,
        types.int64,
    ), code


def _loop(c: Code, inputs: list[Any], panel: Any, count: Any, sums: list[Any], ahead: Any, step: Any) -> None:
    """Writes the loop over inputs; the sums stay in registers."""
    b = c.b
    before, body, after = b.block, b.append_basic_block("products"), b.append_basic_block("summed")
    started = [_load(b, place) for place in sums]
    b.cbranch(b.icmp_signed(">", count, ir.Constant(i64, 0)), body, after)

    b.position_at_end(body)
    k = b.phi(i64)
    totals = [b.phi(vector) for _ in sums]
    weights = [
        _load(b, b.gep(panel, [b.add(b.mul(k, ir.Constant(i64, PANEL)), ir.Constant(i64, v * LANES))]))
        for v in range(VECTORS)
    ]
    fma = c.function(f"llvm.fma.v{LANES}f32", vector, [vector] * 3)
    results = []
    for p, place in enumerate(inputs):
        x = _everywhere(b, b.load(b.gep(place, [k])))
        results += [b.call(fma, [x, w, totals[p * VECTORS + v]]) for v, w in enumerate(weights)]
    _prefetch(c, ahead, b.mul(k, step))
    following = b.add(k, ir.Constant(i64, 1))
    b.cbranch(b.icmp_signed("<", following, count), body, after)

    k.add_incoming(ir.Constant(i64, 0), before)
    k.add_incoming(following, body)
    b.position_at_end(after)
    for total, start, result in zip(totals, started, results, strict=True):
        total.add_incoming(start, before)
        total.add_incoming(result, body)
    finals = [b.phi(vector) for _ in sums]
    for final, start, result, place in zip(finals, started, results, sums, strict=True):
        final.add_incoming(start, before)
        final.add_incoming(result, body)
        b.store(final, b.bitcast(place, vector.as_pointer())).align = 4


def _prefetch(c: Code, place: Any, offset: Any) -> None:
    """Asks for two lines of the cache: the processor itself looks no further than to the end of a page."""
    b = c.b
    place = b.gep(b.bitcast(place, i8.as_pointer()), [offset])
    function = c.function("llvm.prefetch.p0", ir.VoidType(), [i8.as_pointer(), i32, i32, i32])
    for line in (0, 1):
        p = b.gep(place, [ir.Constant(i64, 64 * line)])
        b.call(function, [p, ir.Constant(i32, 0), ir.Constant(i32, 3), ir.Constant(i32, 1)])


def _load(b: Any, place: Any) -> Any:
    loaded = b.load(b.bitcast(place, vector.as_pointer()))
    loaded.align = 4
    return loaded


def _everywhere(b: Any, x: Any) -> Any:
    nothing = ir.Constant(vector, ir.Undefined)
    zeros = ir.Constant(ir.VectorType(i32, LANES), [0] * LANES)
    return b.shuffle_vector(b.insert_element(nothing, x, ir.Constant(i32, 0)), nothing, zeros)
