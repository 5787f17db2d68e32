"""The network of a raster-scan context model, compiled: the same bits on every machine, however positions are grouped.

A decoder has to repeat the encoder's arithmetic exactly, and libraries of matrix products promise no such thing: their
sums depend on the processor, the threads and the number of rows. Here every output is one chain of fused multiply-adds.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from tinify.coders.threads import at_once, available
from tinify.errors import InputError
from tinify.latent_codecs.context_layers import ContextLayers, Layer, device_of

Floats = npt.NDArray[np.float32]
Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ContextNet:
    """A masked convolution of what is decoded, then layers of 1x1 kernels over it and the side information.

    It has a copy of the modules' weights as they were. ``layers``, ``entries`` and ``spans`` are those of
    :mod:`tinify.latent_codecs.context_kernels`; the last row of ``layers`` is the part that sees the side information.
    """

    channels: int
    side_channels: int
    outputs: int
    kernel: int
    weights: Floats
    layers: Int64s
    slopes: Floats
    entries: Floats

    device: ClassVar[torch.device] = torch.device("cpu")

    @classmethod
    def of(cls, context_prediction: nn.Module, entropy_parameters: nn.Module) -> ContextNet | None:
        """The compiled form of two modules as :class:`ContextLayers` wants them, on the CPU.

        None where they are of another kind, or where there is no numba.

        >>> conv = torch.nn.Conv2d(4, 8, 3, padding=1)
        >>> conv.register_buffer("mask", torch.tensor([[1.0, 1, 1], [1, 0, 0], [0, 0, 0]]).expand(8, 4, 3, 3))
        >>> net = ContextNet.of(conv, torch.nn.Sequential(torch.nn.Conv2d(10, 6, 1)))
        >>> scan = net.start(torch.zeros(1, 2, 5, 7))
        >>> scan.params(torch.tensor([0]), torch.tensor([0])).shape
        torch.Size([1, 6])
        """
        if not _compiles() or device_of(context_prediction, entropy_parameters) != cls.device:
            return None
        layers = ContextLayers.of(context_prediction, entropy_parameters)
        return None if layers is None else layers.derive("compiled", _pack)

    def start(self, side: Tensor) -> ContextScan:
        """A scan of a latent of which nothing is decoded yet; ``side`` is (batch, channels, height, width), float32."""
        if side.ndim != 4 or side.shape[1] != self.side_channels:
            raise InputError(
                f"side information of shape {tuple(side.shape)}: expected (batch, {self.side_channels}, height, width)"
            )
        if (side.dtype, side.device.type) != (torch.float32, "cpu"):
            raise InputError(f"side information is {side.dtype} on {side.device}: expected float32 on the CPU")
        return ContextScan(self, side.detach())


class ContextScan:
    """A latent being decoded: parameters of positions are asked for, their values put in."""

    def __init__(self, net: ContextNet, side: Tensor) -> None:
        self._net = net
        batch, _, height, width = side.shape
        pad = net.kernel // 2
        self._y_hat = np.zeros((batch, height + pad, width + 2 * pad, net.channels), np.float32)
        # An exact network sees integers within limits; what is decoded may be anything.
        self._seen = np.zeros_like(self._y_hat) if net.layers[0, 4] else self._y_hat
        self._side = _side_part(net, side)
        self._size = height, width
        lengths = [net.kernel] * pad + [pad]
        row = (width + 2 * pad) * net.channels
        self._spans = np.array([(i * row, length * net.channels) for i, length in enumerate(lengths)])

    def params(self, rows: Any, columns: Any) -> Tensor:
        """Parameters of the positions (rows[i], columns[i]): (batch * positions, outputs), item by item."""
        net = self._net
        neighbours = self._places(rows, columns, self._seen, 0)
        places = self._places(rows, columns, self._side, 0)
        out = np.empty((len(places), net.outputs), np.float32)
        seen, side, layers = self._seen.reshape(-1), self._side.reshape(-1), net.layers[:-1]
        _kernels().run(seen, neighbours, self._spans, side, places, net.weights, layers, net.slopes, net.entries, out)
        return torch.from_numpy(out)

    def put(self, rows: Any, columns: Any, values: Tensor) -> None:
        """Takes the decoded values of positions, (batch * positions, channels)."""
        places = self._places(rows, columns, self._y_hat, self._net.kernel // 2)
        if values.shape != (len(places), self._net.channels):
            raise InputError(
                f"decoded values of shape {tuple(values.shape)}: expected {(len(places), self._net.channels)}"
            )
        rows, seen = values.detach().to("cpu", torch.float32).contiguous().numpy(), self._seen.reshape(-1)
        _kernels().write(self._y_hat.reshape(-1), places, rows)
        if self._seen is not self._y_hat:
            _kernels().write(seen, places, rows)
            _kernels().enter(seen, places, self._net.entries, *self._net.layers[0, 3:])

    def result(self) -> Tensor:
        """The decoded latent, (batch, channels, height, width)."""
        pad, (height, width) = self._net.kernel // 2, self._size
        y_hat = torch.from_numpy(self._y_hat)[:, pad : pad + height, pad : pad + width]
        return y_hat.permute(0, 3, 1, 2).contiguous()

    def _places(self, rows: Any, columns: Any, array: Floats, pad: int) -> Int64s:
        """Where the channels of positions begin in an array of (batch, rows, columns, channels)."""
        rows, columns = (
            one.numpy() if isinstance(one, Tensor) and one.dtype == torch.int64 else np.ascontiguousarray(one, np.int64)
            for one in (rows, columns)
        )
        places = np.empty(len(array) * len(rows), np.int64)
        paired = rows.ndim == 1 and rows.shape == columns.shape
        if not paired or not _kernels().find(rows, columns, *self._size, pad, array, places):
            height, width = self._size
            raise InputError(f"positions: expected as many rows as columns, within {height} rows and {width} columns")
        return places


def _compiles() -> bool:
    try:
        from numba.core import config
    except ImportError:  # numba lags behind the newest Pythons
        return False
    return not vars(config)["DISABLE_JIT"]


def _kernels() -> Any:
    from tinify.latent_codecs import context_kernels  # numba takes long to import

    return context_kernels


def _side_part(net: ContextNet, side: Tensor) -> Floats:
    """What the first layer adds up of the side information, (batch, height, width, padded outputs), on all threads."""
    stride, inputs, *entry = (int(x) for x in net.layers[-1, 1:])
    x = side.permute(0, 2, 3, 1).flatten().contiguous().numpy()
    x = x.copy() if entry[1] else x  # which may be the caller's
    out = np.empty((len(side), *side.shape[2:], stride), np.float32)
    rows, spans, nothing = out.reshape(-1, stride), np.array([[0, inputs]]), np.empty(0, np.int64)

    def part(first: int, end: int) -> None:
        places, layers = np.arange(first, end) * inputs, net.layers[-1:]
        enter(x, places, net.entries, *entry)
        run(x, places, spans, net.weights, nothing, net.weights, layers, net.slopes, net.entries, rows[first:end])

    enter, run, threads = _kernels().enter, _kernels().run, min(available(), len(rows) // 64 + 1)
    edges = [len(rows) * thread // threads for thread in range(threads + 1)]
    at_once(lambda share: part(*share), list(pairwise(edges)))
    return out


def _pack(layers: ContextLayers) -> ContextNet:
    """Copies weights to where the kernels expect them."""
    parts = layers.context, *layers.dense, layers.side
    entries = [_entry(part) for part in parts]
    table, end, entered = [], 0, 0
    for part, entry in zip(parts, entries, strict=True):
        stride, inputs = _padded(len(part.weight)), part.weight.shape[1]
        table.append((end, stride, inputs, entered, entry.shape[1]))
        end += stride * (1 + inputs)
        entered += entry.shape[1]
    weights = torch.zeros(end).numpy()  # for vectors: PyTorch's memory begins where a line of the cache does
    for (begin, stride, *_), part in zip(table, parts, strict=True):
        if part.bias is not None:
            weights[begin : begin + len(part.weight)] = part.bias.numpy()
        _kernels().pack(part.weight.numpy(), weights, begin + stride)
    slopes = np.array([1.0, *(part.slope for part in layers.dense)], np.float32)
    outputs, side = len(layers.dense[-1].weight), layers.side.weight.shape[1]
    known = weights, np.array(table), slopes, np.concatenate(entries, 1)
    return ContextNet(layers.channels, side, outputs, layers.kernel, *known)


def _entry(layer: Layer) -> Floats:
    """What makes integers of a layer's inputs, (4, channels); of no channels where nothing does."""
    if layer.entry is None:
        return np.zeros((4, 0), np.float32)
    *rows, slope = layer.entry.floats()
    return torch.stack([*rows, torch.full_like(rows[0], slope)]).numpy()


def _padded(outputs: int) -> int:
    panel: int = _kernels().PANEL
    return -(-outputs // panel) * panel
