"""The network of a raster-scan context model, compiled: the same bits on every machine, however positions are grouped.

A decoder has to repeat the encoder's arithmetic exactly, and libraries of matrix products promise no such thing: their
sums depend on the processor, the threads and the number of rows. Here every output is one chain of fused multiply-adds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, TypeGuard
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from tinify.coders.threads import at_once, available
from tinify.errors import InputError

Floats = npt.NDArray[np.float32]
Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Dense:
    """A layer with 1x1 kernels and the slope of what is negative after it; 1 where nothing comes after it."""

    weight: Tensor
    bias: Tensor | None
    slope: float = 1.0


@dataclass(frozen=True)
class ContextNet:
    """A masked convolution of what is decoded, then layers of 1x1 kernels over it and the side information.

    It has a copy of the modules' weights as they were. ``layers`` and ``spans`` are those of
    :mod:`tinify.latent_codecs.context_kernels`; the last row of ``layers`` is the part that sees the side information.
    """

    channels: int
    side_channels: int
    outputs: int
    kernel: int
    weights: Floats
    layers: Int64s
    slopes: Floats

    @classmethod
    def of(cls, context_prediction: nn.Module, entropy_parameters: nn.Module) -> ContextNet | None:
        """The compiled form of two modules; None where they are of another kind, or where there is no numba.

        ``context_prediction`` is a convolution with a mask of type A (an odd square kernel, padding that keeps the
        size); ``entropy_parameters`` is 1x1 convolutions with ReLU or LeakyReLU between, which see
        ``cat(side, context)``. Weights are float32 on the CPU.

        >>> conv = torch.nn.Conv2d(4, 8, 3, padding=1)
        >>> conv.register_buffer("mask", torch.tensor([[1.0, 1, 1], [1, 0, 0], [0, 0, 0]]).expand(8, 4, 3, 3))
        >>> net = ContextNet.of(conv, torch.nn.Sequential(torch.nn.Conv2d(10, 6, 1)))
        >>> scan = net.start(torch.zeros(1, 2, 5, 7))
        >>> scan.params(torch.tensor([0]), torch.tensor([0])).shape
        torch.Size([1, 6])
        """
        tensors = [*context_prediction.parameters(), *context_prediction.buffers(), *entropy_parameters.parameters()]
        # In-place changes through .data leave a version as it is, but hardly ever a sum.
        state = [
            (t.data_ptr(), t._version, float(t.detach().sum()))
            for t in tensors
            if (t.dtype, t.device.type) == (torch.float32, "cpu")
        ]
        known = _packed.get(context_prediction)
        if known is None or known[0] is not entropy_parameters or known[1] != state:
            known = entropy_parameters, state, cls._of(context_prediction, entropy_parameters)
            _packed[context_prediction] = known
        return known[2]

    @classmethod
    def _of(cls, context_prediction: nn.Module, entropy_parameters: nn.Module) -> ContextNet | None:
        dense = _dense_layers(entropy_parameters)
        if not dense or not _compiles() or not _is_context(context_prediction):
            return None
        tensors = [t for layer in dense for t in (layer.weight, layer.bias) if t is not None]
        if any((t.dtype, t.device.type) != (torch.float32, "cpu") for t in tensors):
            return None
        if any(len(one.weight) != two.weight.shape[1] for one, two in pairwise(dense)):
            return None
        if context_prediction.out_channels > dense[0].weight.shape[1]:
            return None
        return _pack(context_prediction, dense)

    def start(self, side: Tensor) -> ContextScan:
        """A scan of a latent of which nothing is decoded yet; ``side`` is (batch, channels, height, width), float32."""
        if side.ndim != 4 or side.shape[1] != self.side_channels:
            raise InputError(
                f"side information of shape {tuple(side.shape)}: expected (batch, {self.side_channels}, height, width)"
            )
        if (side.dtype, side.device.type) != (torch.float32, "cpu"):
            raise InputError(f"side information is {side.dtype} on {side.device}: expected float32 on the CPU")
        return ContextScan(self, side.detach())


_packed: WeakKeyDictionary[nn.Module, tuple[nn.Module, list[Any], ContextNet | None]] = WeakKeyDictionary()
"""The last compiled form by its convolution, with the state of the weights that it was made of."""


class ContextScan:
    """A latent being decoded: parameters of positions are asked for, their values put in."""

    def __init__(self, net: ContextNet, side: Tensor) -> None:
        self._net = net
        batch, _, height, width = side.shape
        pad = net.kernel // 2
        self._y_hat = np.zeros((batch, height + pad, width + 2 * pad, net.channels), np.float32)
        self._side = _side_part(net, side)
        self._size = height, width
        lengths = [net.kernel] * pad + [pad]
        row = (width + 2 * pad) * net.channels
        self._spans = np.array([(i * row, length * net.channels) for i, length in enumerate(lengths)])

    def params(self, rows: Any, columns: Any) -> Tensor:
        """Parameters of the positions (rows[i], columns[i]): (batch * positions, outputs), item by item."""
        net = self._net
        neighbours = self._places(rows, columns, self._y_hat, 0)
        places = self._places(rows, columns, self._side, 0)
        out = np.empty((len(places), net.outputs), np.float32)
        y_hat, side = self._y_hat.reshape(-1), self._side.reshape(-1)
        _kernels().run(y_hat, neighbours, self._spans, side, places, net.weights, net.layers[:-1], net.slopes, out)
        return torch.from_numpy(out)

    def put(self, rows: Any, columns: Any, values: Tensor) -> None:
        """Takes the decoded values of positions, (batch * positions, channels)."""
        places = self._places(rows, columns, self._y_hat, self._net.kernel // 2)
        if values.shape != (len(places), self._net.channels):
            raise InputError(
                f"decoded values of shape {tuple(values.shape)}: expected {(len(places), self._net.channels)}"
            )
        _kernels().write(self._y_hat.reshape(-1), places, values.detach().to("cpu", torch.float32).contiguous().numpy())

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
    stride, inputs = (int(x) for x in net.layers[-1, 1:])
    x = side.permute(0, 2, 3, 1).flatten().contiguous().numpy()
    out = np.empty((len(side), *side.shape[2:], stride), np.float32)
    rows, spans, nothing = out.reshape(-1, stride), np.array([[0, inputs]]), np.empty(0, np.int64)

    def part(first: int, end: int) -> None:
        places, layers = np.arange(first, end) * inputs, net.layers[-1:]
        run(x, places, spans, net.weights, nothing, net.weights, layers, net.slopes, rows[first:end])

    run, threads = _kernels().run, min(available(), len(rows) // 64 + 1)
    edges = [len(rows) * thread // threads for thread in range(threads + 1)]
    at_once(lambda share: part(*share), list(pairwise(edges)))
    return out


def _dense_layers(module: nn.Module) -> list[_Dense]:
    """The layers of 1x1 kernels that a module is; none where it is anything else."""
    layers: list[_Dense] = []
    for part in _parts(module):
        if isinstance(part, nn.Conv2d) and _is_pointwise(part):
            layers.append(_Dense(part.weight, part.bias))
        elif type(part) in (nn.ReLU, nn.LeakyReLU) and layers and layers[-1].slope == 1:
            layers[-1] = replace(layers[-1], slope=float(getattr(part, "negative_slope", 0)))
        elif type(part) is not nn.Identity:
            return []
    return layers


def _parts(module: nn.Module) -> Iterator[nn.Module]:
    if type(module) is nn.Sequential:
        for part in module:
            yield from _parts(part)
    else:
        yield module


def _is_pointwise(layer: nn.Conv2d) -> bool:
    plain = type(layer).forward is nn.Conv2d.forward and not isinstance(layer.padding, str)
    return plain and _form(layer) == ((1, 1), (1, 1), (0, 0), 1)


def _is_context(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Whether it is a convolution that keeps the size and sees nothing but what comes before a position."""
    if not isinstance(module, nn.Conv2d) or not isinstance(getattr(module, "mask", None), Tensor):
        return False
    tensors = [module.weight, module.mask] + ([] if module.bias is None else [module.bias])
    if any(t.device.type != "cpu" for t in tensors) or any(t.dtype != torch.float32 for t in tensors):
        return False
    size, pad = module.kernel_size[0], module.kernel_size[0] // 2
    plain = _form(module) == ((size, size), (1, 1), (pad, pad), 1) and size % 2 == 1
    plain = plain and module.padding_mode == "zeros" and module.dilation == (1, 1)
    return (
        plain
        and module.mask.shape == module.weight.shape
        and _kernels().is_causal(_matrices(module.mask), size * size // 2)
    )


def _form(layer: nn.Conv2d) -> tuple[Any, ...]:
    return layer.kernel_size, layer.stride, layer.padding, layer.groups


def _matrices(weight: Any) -> Floats:
    """(outputs, inputs, taps)"""
    matrices: Floats = weight.detach().flatten(2).contiguous().numpy()
    return matrices


def _pack(context: nn.Conv2d, dense: Sequence[_Dense]) -> ContextNet:
    """Copies weights to where the kernels expect them."""
    outputs, channels, kernel, _ = context.weight.shape
    first, side = dense[0], dense[0].weight.shape[1] - outputs
    mask: Any = context.mask
    seen = context.weight.detach() * mask
    parts = [
        (seen, context.bias, kernel * kernel // 2),
        (first.weight[:, side:], None, 1),
        *((layer.weight, layer.bias, 1) for layer in dense[1:]),
        (first.weight[:, :side], first.bias, 1),
    ]
    layers, end = [], 0
    for weight, _, taps in parts:
        stride, inputs = _padded(len(weight)), weight.shape[1] * taps
        layers.append((end, stride, inputs))
        end += stride * (1 + inputs)
    weights = torch.zeros(end).numpy()  # for vectors: PyTorch's memory begins where a line of the cache does
    for (begin, stride, _), (weight, bias, taps) in zip(layers, parts, strict=True):
        if bias is not None:
            weights[begin : begin + len(weight)] = bias.detach().numpy()
        _kernels().pack(_matrices(weight), taps, weights, begin + stride)
    slopes = np.array([1.0, *(layer.slope for layer in dense)], np.float32)
    return ContextNet(channels, side, len(dense[-1].weight), kernel, weights, np.array(layers), slopes)


def _padded(outputs: int) -> int:
    panel: int = _kernels().PANEL
    return -(-outputs // panel) * panel
