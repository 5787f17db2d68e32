"""The inner loops of the mixture coder, compiled by numba; specs/FORMAT.md says what they compute.

Of parameters only their types are known when they come here, and of a string nothing.
"""

from __future__ import annotations

import numba as nb
import numpy as np
import numpy.typing as npt

from tinify.coders.rans_format import ESCAPE_BYTES, FINE, OTHER_ROWS, TINY_LOW, UNSOUND
from tinify.coders.rans_kernels import (
    INPUT,
    ROWS,
    Bytes,
    Int32s,
    Int64s,
    array,
    fold,
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

_PARAMETERS = array(nb.int32, axes=3, readonly=True)
_SCRATCH = array(nb.int64, axes=2)

Bins = npt.NDArray[np.uint32]


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
    item: int, i: int, indexes: Int32s, means: Int32s, weights: Int32s, steep: Int32s, reach: Int32s, mixture: Int64s
) -> tuple[int, int, int, int]:
    """Fills in ``mixture``; returns how it went, the first symbol and the last one, and one likely between them."""
    total, top = wide(0), 0
    for k in range(mixture.shape[0]):
        scale, weight = wide(indexes[item, k, i]), wide(weights[item, k, i])
        if not 0 <= scale < steep.size:
            return OTHER_ROWS, 0, 0, 0
        if not 0 <= weight <= 65536:
            return UNEVEN, 0, 0, 0
        mixture[k, 0] = min(max(wide(means[item, k, i]), -_FAR), _FAR)
        mixture[k, 1] = steep[scale]
        mixture[k, 2] = weight
        total += weight
        if weight > mixture[top, 2]:
            top = k
    if not -SLACK <= total - 65536 <= SLACK or mixture[top, 2] + 65536 < total:
        return UNEVEN, 0, 0, 0
    mixture[top, 2] += 65536 - total
    centre = (mixture[top, 0] + 128) >> 8
    low, high = centre, centre
    for k in range(mixture.shape[0]):
        weight = mixture[k, 2]
        if weight > 0:
            bits = 16
            while weight < 1 << bits:
                bits -= 1
            far = wide(reach[indexes[item, k, i], bits])
            low = min(low, (mixture[k, 0] - far + 127) >> 8)
            high = max(high, (mixture[k, 0] + far + 128) >> 8)
    return FINE, max(low, centre - _WINDOW), min(high, centre + _WINDOW), centre


@kernel(
    nb.int64(
        INPUT, _PARAMETERS, _PARAMETERS, _PARAMETERS, INPUT, ROWS, INPUT, _SCRATCH, array(nb.uint32), array(nb.int64)
    )
)  # fmt: skip
def find_bins(
    symbols: Int32s,
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
    each, item, i = indexes.shape[2], -1, indexes.shape[2]
    for n in range(symbols.size):
        item, i = (item, i + 1) if i + 1 < each else (item + 1, 0)
        status, low, high, _ = _load(item, i, indexes, means, weights, steep, reach, mixture)
        if status != FINE:
            return status
        count = high - low + 1
        free = 65535 - count
        value = wide(symbols[n]) - low
        start, end = wide(0), wide(65536)
        if 0 <= value < count:
            escapes[n] = -1
            if value > 0:
                start = ((free * _below(mixture, low + value, normal)) >> 32) + value
            end = ((free * _below(mixture, low + value + 1, normal)) >> 32) + value + 1
        else:
            escapes[n] = fold(value, count)
            start = ((free * _below(mixture, high + 1, normal)) >> 32) + count
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
        array(nb.uint8, readonly=True), nb.int64, nb.int64, _PARAMETERS, _PARAMETERS, _PARAMETERS, INPUT,
        ROWS, INPUT, _SCRATCH, array(nb.int32),
    )
)  # fmt: skip
def pop_mixture(
    data: Bytes,
    x: int,
    p: int,
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
    each, item, i = indexes.shape[2], -1, indexes.shape[2]
    for n in range(out.size):
        item, i = (item, i + 1) if i + 1 < each else (item + 1, 0)
        status, low, high, middle = _load(item, i, indexes, means, weights, steep, reach, mixture)
        if status != FINE:
            return status, x, p
        first, count = low, high - low + 1
        free = 65535 - count
        slot = x & 65535
        start, end = wide(0), wide(65536)
        # Every symbol from low on and below high + 2, the escape, may be it; steps grow until it is between two.
        high += 2
        step = 1
        bounded = False
        while high - low > 1:
            middle = min(max(middle, low + 1), high - 1)
            bound = ((free * _below(mixture, middle, normal)) >> 32) + middle - first
            if bound <= slot:
                bounded = bounded or end < 65536
                low, start = middle, bound
                middle = middle + step
            else:
                bounded = bounded or start > 0
                high, end = middle, bound
                middle = middle - step
            step *= 2
            if bounded:
                middle = (low + high) >> 1
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
