"""The inner loops of the mixture coder, compiled by numba; specs/FORMAT.md says what they compute.

Of parameters only their types are known when they come here, and of a string nothing.
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
import numpy.typing as npt
from llvmlite import ir

from tinify.coders.rans_format import ESCAPE_BYTES, FINE, OTHER_ROWS, TINY_LOW, UNSOUND
from tinify.coders.rans_kernels import (
    INPUT,
    ROWS,
    Bytes,
    Int32s,
    Int64s,
    array,
    fold,
    intrinsic,
    kernel,
    push_state,
    top_shift,
    types,
    unfold,
    wide,
)

UNEVEN = 100
"""How a kernel ends when weights do not add up to 65536, nearly."""
SLACK = 256
"""By how much they may miss it: rounding, and what float32 makes of a softmax."""
LAST = 65536
"""The state behind the last symbol: one by which damage shows."""
_FAR = (1 << 28) - 1
_WINDOW = 4096
_CENTRE, _END = 768 << 8, 1536 << 8

_SCRATCH = array(nb.int64, axes=2)

Bins = npt.NDArray[np.uint32]


@intrinsic
def leading_zeros(typing: Any, number: Any) -> Any:
    """Of a positive 64-bit integer; from compiled code alone."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), code


@kernel()
def _below(mixture: Int64s, symbol: int, normal: Int32s) -> int:
    """The mass below a symbol, in units of 2^-32."""
    edge = (symbol << 8) - 128
    total = 0
    for k in range(mixture.shape[0]):
        place = (((edge - mixture[k, 0]) * mixture[k, 1]) >> 16) + _CENTRE
        place = min(max(place, 0), _END - 1)
        at = place >> 8
        value = wide(normal[at])
        total += mixture[k, 2] * ((value << 8) + (place & 255) * (wide(normal[at + 1]) - value))
    return total >> 16


@kernel()
def _load(
    at: int, each: int, indexes: Int32s, means: Int32s, weights: Int32s, steep: Int32s, reach: Int32s, mixture: Int64s
) -> tuple[int, int, int, int]:
    """Fills in ``mixture``; returns how it went, the first symbol and the last one, and one likely between them.

    Selects instead of branches, which would be mispredicted: they would take most of the time.
    """
    total, top, greatest, middle = wide(0), wide(0), wide(-1), wide(0)
    low, high = wide(1 << 60), wide(-1 << 60)
    for k in range(mixture.shape[0]):
        scale, mean, weight = wide(indexes[at]), wide(means[at]), wide(weights[at])
        at += each
        if scale < 0 or scale >= steep.size:
            return OTHER_ROWS, 0, 0, 0
        if weight < 0 or weight > 65536:
            return UNEVEN, 0, 0, 0
        mean = min(max(mean, -_FAR), _FAR)
        mixture[k, 0], mixture[k, 1], mixture[k, 2] = mean, wide(steep[scale]), weight
        total += weight
        first = weight > greatest
        top = k if first else top
        middle = mean if first else middle
        greatest = weight if first else greatest
        far = wide(reach[scale, 63 - leading_zeros(weight | 1)])
        begin, end = (mean - far + 127) >> 8, (mean + far + 128) >> 8
        low = begin if weight > 0 and begin < low else low
        high = end if weight > 0 and end > high else high
    mixture[top, 2] += 65536 - total
    if total < 65536 - SLACK or total > 65536 + SLACK or mixture[top, 2] < 0:
        return UNEVEN, 0, 0, 0
    centre = (middle + 128) >> 8
    low, high = min(low, centre), max(high, centre)
    return FINE, max(low, centre - _WINDOW), min(high, centre + _WINDOW), centre


@kernel(
    nb.int64(
        INPUT, nb.int64, INPUT, INPUT, INPUT, INPUT, ROWS, INPUT, _SCRATCH, array(nb.uint32), array(nb.int64)
    )
)  # fmt: skip
def find_bins(
    symbols: Int32s,
    each: int,
    indexes: Int32s,
    means: Int32s,
    weights: Int32s,
    steep: Int32s,
    reach: Int32s,
    normal: Int32s,
    mixture: Int64s,
    bins: Bins,
    escapes: Int64s,
) -> int:
    """The bin of every symbol, start << 16 | width - 1, and its folded escape, -1 where it has none; how it ended."""
    at, i = 0, 0
    for n in range(symbols.size):
        status, low, high, _ = _load(at + i, each, indexes, means, weights, steep, reach, mixture)
        if status != FINE:
            return status
        i += 1
        if i == each:
            at, i = at + mixture.shape[0] * each, 0
        count = high - low + 1
        free = 65535 - count
        value = wide(symbols[n]) - low
        outside = value < 0 or value >= count
        escapes[n] = fold(value, count) if outside else -1
        value = count if outside else value
        start = ((free * _below(mixture, low + value, normal)) >> 32) + value
        end = ((free * _below(mixture, low + value + 1, normal)) >> 32) + value + 1
        start = 0 if value == 0 else start
        end = 65536 if outside else end
        bins[n] = start << 16 | (end - start - 1)
    return FINE


@kernel(nb.int64(array(nb.uint32, readonly=True), array(nb.int64, readonly=True), array(nb.uint8)))
def push_bins(bins: Bins, escapes: Int64s, out: Bytes) -> int:
    """Codes bins, and their escape bytes, into the end of ``out``; returns where the string begins."""
    x, p = LAST, out.size
    for n in range(bins.size - 1, -1, -1):
        folded = escapes[n]
        if folded >= 0:
            top = top_shift(folded)
            for shift in range(top, -1, -7):
                byte = ((folded >> shift) & 127) | (128 if shift < top else 0)
                while x >= TINY_LOW:
                    p -= 1
                    out[p] = x & 255
                    x >>= 8
                x = push_state(x, byte << 8, 256)
        start, width = wide(bins[n]) >> 16, (wide(bins[n]) & 65535) + 1
        while x >= width << 32:
            p -= 1
            out[p] = x & 255
            x >>= 8
        x = push_state(x, start, width)
    while x > 0:
        p -= 1
        out[p] = x & 255
        x >>= 8
    return p


@kernel()
def _refill(x: int, data: Bytes, p: int) -> tuple[int, int]:
    while x < TINY_LOW and p < data.size:
        x = (x << 8) | wide(data[p])
        p += 1
    return x, p


@kernel(
    types.UniTuple(nb.int64, 3)(
        array(nb.uint8, readonly=True), nb.int64, nb.int64, nb.int64, INPUT, INPUT, INPUT, INPUT,
        ROWS, INPUT, _SCRATCH, array(nb.int32),
    )
)  # fmt: skip
def pop_mixture(
    data: Bytes,
    x: int,
    p: int,
    each: int,
    indexes: Int32s,
    means: Int32s,
    weights: Int32s,
    steep: Int32s,
    reach: Int32s,
    normal: Int32s,
    mixture: Int64s,
    out: Int32s,
) -> tuple[int, int, int]:
    """Decodes symbols from the state ``x`` and ``data[p]`` on; returns how it ended, the state and the next byte."""
    x, p = _refill(x, data, p)
    at, i = 0, 0
    for n in range(out.size):
        status, low, high, middle = _load(at + i, each, indexes, means, weights, steep, reach, mixture)
        if status != FINE:
            return status, x, p
        i += 1
        if i == each:
            at, i = at + mixture.shape[0] * each, 0
        first, count = low, high - low + 1
        free = 65535 - count
        slot = x & 65535
        start, end = wide(0), wide(65536)
        # It is a symbol from low to high, or the escape, high + 1; steps grow until it is between two.
        high += 2
        step = 1 + (count >> 4)
        while high - low > 1:
            middle = min(max(middle, low + 1), high - 1)
            bound = ((free * _below(mixture, middle, normal)) >> 32) + middle - first
            above = bound <= slot
            low, start = middle if above else low, bound if above else start
            high, end = high if above else middle, end if above else bound
            between = start > 0 and end < 65536
            middle = (low + high) >> 1 if between else middle + step if above else middle - step
            step += step
        x, p = _refill((end - start) * (x >> 16) + slot - start, data, p)
        value = low - first
        if value == count:
            folded = 0
            shift = 0
            byte = 128
            while byte >= 128:
                if shift == 7 * ESCAPE_BYTES:
                    return UNSOUND, x, p
                byte = (x >> 8) & 255
                x, p = _refill(((x >> 16) << 8) | (x & 255), data, p)
                folded |= (byte & 127) << shift
                shift += 7
            if byte == 0 and shift > 7:  # longer than need be
                return UNSOUND, x, p
            value = unfold(folded, count)
        if not -2147483648 <= value + first <= 2147483647:
            return UNSOUND, x, p
        out[n] = value + first
    return FINE, x, p
