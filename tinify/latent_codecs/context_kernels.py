"""The network of a raster-scan context model, compiled by numba.

``layers`` has a row for each layer: where its weights begin, its outputs padded to whole panels, its inputs, where its
entry begins in ``entries``, and the channels of that: none in a float model. The first one is the masked convolution,
whose inputs are runs of neighbouring values, one for each row of the kernel: ``spans`` has where each begins, from the
position's first neighbour, and its length. A layer's weights are panels of outputs, in a panel one row for each input;
a row of starting values comes before them. ``entries`` has what each channel is multiplied by, the lowest and the
highest integer that it may be, and its slope below zero.
"""

from __future__ import annotations

import numba as nb
import numpy as np
import numpy.typing as npt

from tinify.coders.rans_kernels import array, kernel, types
from tinify.latent_codecs.context_code import HEIGHT, PANEL, add_products

Floats = npt.NDArray[np.float32]
Int64s = npt.NDArray[np.int64]

CHUNK = 64
"""Inputs whose weights, of one panel, stay in the first cache while all positions use them."""
_FLOATS, _MATRIX = array(nb.float32), array(nb.float32, axes=2)
_INTS, _TABLE = array(nb.int64), array(nb.int64, axes=2)
_POSITIONS = array(nb.int64, readonly=True)


@kernel()
def _block(
    height: int,
    x: Floats,
    places: Int64s,
    first: int,
    offset: int,
    count: int,
    weights: Floats,
    at: int,
    out: Floats,
    column: int,
    stride: int,
    ahead: int,
    step: int,
) -> None:
    if height == 6:
        add_products(6, x, places, first, offset, count, weights, at, out, column, stride, ahead, step)
    elif height == 5:
        add_products(5, x, places, first, offset, count, weights, at, out, column, stride, ahead, step)
    elif height == 4:
        add_products(4, x, places, first, offset, count, weights, at, out, column, stride, ahead, step)
    elif height == 3:
        add_products(3, x, places, first, offset, count, weights, at, out, column, stride, ahead, step)
    elif height == 2:
        add_products(2, x, places, first, offset, count, weights, at, out, column, stride, ahead, step)
    else:
        add_products(1, x, places, first, offset, count, weights, at, out, column, stride, ahead, step)


@kernel()
def _multiply(x: Floats, places: Int64s, spans: Int64s, weights: Floats, at: int, out: Floats, stride: int) -> None:
    """Adds to ``out``, (positions, stride), the products of a layer; ``at`` is where its panels begin.

    Between them the blocks of a chunk ask for the weights of the next: few positions take no longer than to read them.
    """
    blocks = -(-len(places) // HEIGHT)
    for column in range(0, stride, PANEL):
        for span in range(len(spans)):
            for done in range(0, spans[span, 1], CHUNK):
                count = min(CHUNK, spans[span, 1] - done)
                for block in range(blocks):
                    first = len(places) * block // blocks
                    height = len(places) * (block + 1) // blocks - first
                    offset = spans[span, 0] + done
                    ahead = at + count * PANEL + count * PANEL * block // blocks
                    step = 4 * PANEL // blocks
                    _block(height, x, places, first, offset, count, weights, at, out, column, stride, ahead, step)
                at += count * PANEL


@kernel()
def _activate(x: Floats, slope: np.float32) -> None:
    """Scales what is negative."""
    if slope == 0:
        for i in range(len(x)):
            x[i] = np.float32(0) if x[i] < 0 else x[i]
    elif slope != 1:
        for i in range(len(x)):
            x[i] = x[i] * slope if x[i] < 0 else x[i]


@kernel(types.void(_FLOATS, _INTS, _MATRIX, nb.int64, nb.int64))
def enter(x: Floats, places: Int64s, entries: Floats, first: int, channels: int) -> None:
    """Makes integers of the channels from each place on, as :class:`~tinify.exact.Entry` does."""
    end = first + channels  # slices, since vectors want indexes that cannot be negative
    scale, low, high, slope = entries[0, first:end], entries[1, first:end], entries[2, first:end], entries[3, first:end]
    for place in places:
        row = x[place : place + channels]
        for n in range(channels):
            a = np.rint(row[n] * scale[n])
            a = high[n] if a > high[n] else a
            a = low[n] if a < low[n] else a
            row[n] = np.rint(a * slope[n]) if a < 0 else a


@kernel(nb.boolean(_POSITIONS, _POSITIONS, nb.int64, nb.int64, nb.int64, array(nb.float32, axes=4), _INTS))
def find(rows: Int64s, columns: Int64s, height: int, width: int, pad: int, values: Floats, places: Int64s) -> bool:
    """Where the channels of positions begin in ``values``, (batch, rows, columns, channels); False for no position."""
    batch, down, right, channels = values.shape
    for i in range(len(rows)):
        if not (0 <= rows[i] < height and 0 <= columns[i] < width):
            return False
        for item in range(batch):
            row = (item * down + rows[i] + pad) * right + columns[i] + pad
            places[item * len(rows) + i] = row * channels
    return True


@kernel(types.void(_FLOATS, _INTS, _TABLE, _FLOATS, _INTS, _FLOATS, _TABLE, _FLOATS, _MATRIX, _MATRIX))
def run(
    x: Floats,
    places: Int64s,
    spans: Int64s,
    side: Floats,
    side_places: Int64s,
    weights: Floats,
    layers: Int64s,
    slopes: Floats,
    entries: Floats,
    out: Floats,
) -> None:
    """The last layer's outputs, (positions, outputs), for positions whose inputs begin at ``places`` of ``x``.

    These have gone through the first layer's entry. The second layer starts from ``side``, from ``side_places`` on.
    """
    rows = len(places)
    for layer in range(len(layers)):
        begin, stride = layers[layer, 0], layers[layer, 1]
        y = np.empty(rows * stride, np.float32)
        for row in range(rows):
            for n in range(stride):
                y[row * stride + n] = side[side_places[row] + n] if layer == 1 else weights[begin + n]
        _multiply(x, places, spans, weights, begin + stride, y, stride)
        _activate(y, slopes[layer])
        if layer + 1 < len(layers):
            x, places, spans = y, np.empty(rows, np.int64), np.zeros((1, 2), np.int64)
            spans[0, 1] = layers[layer + 1, 2]
            for row in range(rows):
                places[row] = row * stride
            enter(x, places, entries, layers[layer + 1, 3], layers[layer + 1, 4])
        else:
            for row in range(rows):
                for n in range(out.shape[1]):
                    out[row, n] = y[row * stride + n]


@kernel(types.void(_FLOATS, _INTS, array(nb.float32, axes=2, readonly=True)))
def write(y_hat: Floats, places: Int64s, values: Floats) -> None:
    """Puts rows of values where they belong."""
    for row in range(len(places)):
        for channel in range(values.shape[1]):
            y_hat[places[row] + channel] = values[row, channel]


@kernel(types.void(_MATRIX, _FLOATS, nb.int64))
def pack(weight: Floats, weights: Floats, at: int) -> None:
    """Copies a layer, (outputs, inputs), to its panels, which begin at ``at``."""
    outputs, inputs = weight.shape
    for column in range(0, outputs, PANEL):
        width = min(PANEL, outputs - column)
        for i in range(inputs):
            for n in range(width):
                weights[at + i * PANEL + n] = weight[column + n, i]
        at += inputs * PANEL
