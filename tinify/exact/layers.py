"""Convolutions of every kind as one layer of integers: taps are gathered, then there is one matrix product."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tinify.errors import InputError
from tinify.exact.arithmetic import (
    CARRIERS,
    INPUT_LIMIT,
    LIMIT,
    WEIGHT_LIMIT,
    digits,
    integer_products,
    plain_arithmetic,
)
from tinify.exact.entry import Entry, power_of_two
from tinify.layers import MaskedConv2d

_EXPONENT_LIMIT = 64
"""Of two: float32 holds the numbers that come of it."""
_BLOCK = 2**22
"""Elements of gathered taps at a time."""


@dataclass(frozen=True)
class Geometry:
    """Which inputs an output sees: ``taps`` are (row, column) in what comes in, padded by ``pad``.

    That is (top, bottom, left, right). ``each`` says that an output sees its own channel alone. ``shuffle`` moves
    channels into space in the end, which makes a convolution of a transposed one.
    """

    taps: tuple[tuple[int, int], ...] = ((0, 0),)
    stride: int = 1
    pad: tuple[int, int, int, int] = (0, 0, 0, 0)
    shuffle: int = 1
    each: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the window."""
        return 1 + max(row for row, _ in self.taps), 1 + max(column for _, column in self.taps)


class ExactLayer(nn.Module):
    """A convolution, transposed or masked or of each channel or none of these, or a linear layer, of integers.

    The numbers that come in are rounded by ``entry``. ``weight`` is int16, (taps * inputs, outputs), ``bias`` int32;
    sums are multiplied by ``2**-shift``, a power of two for each output, so what comes out is a float32 in fixed point.
    No sum of some of the products reaches 2^24, whatever comes in: :meth:`bound` says how far each goes, and
    :meth:`check` refuses more. ``carrier`` is what the sums are computed in; all give the same.
    """

    weight: Tensor
    bias: Tensor
    shift: Tensor

    def __init__(self, geometry: Geometry, inputs: int, outputs: int, kernel_size: tuple[int, int] = (1, 1)) -> None:
        super().__init__()
        self.geometry = geometry
        self.in_channels, self.out_channels = inputs, outputs
        self.kernel_size = kernel_size
        rows = len(geometry.taps) * (1 if geometry.each else inputs)
        wide = outputs * geometry.shuffle**2
        self.entry = Entry(inputs)
        self.register_buffer("weight", torch.zeros(rows, wide, dtype=torch.int16))
        self.register_buffer("bias", torch.zeros(wide, dtype=torch.int32))
        self.register_buffer("shift", torch.zeros(wide, dtype=torch.int8))
        self.carrier = CARRIERS[0]
        self._held: tuple[Any, tuple[Any, Tensor]] | None = None

    def bound(self) -> Tensor:
        """The largest magnitude that the sum of some of an output's products can have, int64, whichever those are."""
        down, up = self.entry.reach
        if not self.geometry.each:
            down, up = (reach.repeat(len(self.geometry.taps))[:, None] for reach in (down, up))
        weight, bias = self.weight.long(), self.bias.long()
        more, less = weight.clamp(min=0), (-weight).clamp(min=0)
        above = (more * up + less * down).sum(0) + bias.clamp(min=0)
        below = (more * down + less * up).sum(0) + (-bias).clamp(min=0)
        return torch.maximum(above, below)

    def check(self, name: str = "this layer") -> None:
        """Raises :class:`~tinify.errors.InputError` where integers leave what the carriers hold."""
        found = {
            "an exponent": (torch.cat([self.shift, self.entry.exponent]).long().abs(), _EXPONENT_LIMIT),
            "a weight": (self.weight.long().abs(), WEIGHT_LIMIT),
            "an input": (torch.cat(self.entry.reach), INPUT_LIMIT),
            "a sum": (self.bound(), LIMIT - 1),
        }
        for what, (reached, most) in found.items():
            if reached.numel() and int(reached.max()) > most:
                raise InputError(
                    f"{name}: {what} can reach {int(reached.max())}, and the exact carriers hold no more than {most}; "
                    "freeze the model again"
                )

    def forward(self, x: Tensor) -> Tensor:
        """What the layer makes of ``x``, (batch, inputs[, height, width]), float32."""
        if x.ndim == 2:
            return self._sums(self.entry(x))
        return self._spread(self.entry(x), self.geometry.pad)

    def valid(self, x: Tensor) -> Tensor:
        """The same without padding: of windows, (batch, inputs, height, width), as they are."""
        return self._spread(self.entry(x), (0, 0, 0, 0))

    def _spread(self, a: Tensor, pad: tuple[int, int, int, int]) -> Tensor:
        geometry = self.geometry
        top, bottom, left, right = pad
        a = F.pad(a, (0, 0, left, right, top, bottom)) if any(pad) else a
        windows = zip(a.shape[1:3], geometry.size, strict=True)
        rows, columns = ((side - window) // geometry.stride + 1 for side, window in windows)
        y = self._each(a, rows, columns) if geometry.each else self._gathered(a, rows, columns)
        y = y.permute(0, 3, 1, 2)
        if geometry.shuffle > 1:
            y = F.pixel_shuffle(y, geometry.shuffle).contiguous(memory_format=torch.channels_last)
        return y

    def _tap(self, a: Tensor, tap: tuple[int, int], rows: int, columns: int) -> Tensor:
        stride, (row, column) = self.geometry.stride, tap
        return a[:, row : row + stride * (rows - 1) + 1 : stride, column : column + stride * (columns - 1) + 1 : stride]

    def _gathered(self, a: Tensor, rows: int, columns: int) -> Tensor:
        taps, stride = self.geometry.taps, self.geometry.stride
        if len(taps) == 1:
            one = self._tap(a, taps[0], rows, columns)
            return self._sums(one.reshape(-1, a.shape[3])).reshape(*one.shape[:3], -1)
        y = a.new_empty(len(a), rows, columns, self.weight.shape[1])
        band = max(1, _BLOCK // max(1, len(a) * columns * len(self.weight)))
        for first in range(0, rows, band):
            count = min(band, rows - first)
            strip = a[:, first * stride :]
            seen = torch.cat([self._tap(strip, tap, count, columns) for tap in taps], 3)
            y[:, first : first + count] = self._sums(seen.flatten(0, 2)).reshape(len(a), count, columns, -1)
        return y

    def _sums(self, a: Tensor) -> Tensor:
        """Weighted sums of rows of integers, float32."""
        held = self._carried()
        if self.carrier == "integer":
            return (integer_products(a, held[0]) + self.bias).float() * held[1]
        with plain_arithmetic(a.device):
            sums: Tensor = torch.addmm(held[1], a.to(held[0].dtype), held[0])
            return sums.float()

    def _each(self, a: Tensor, rows: int, columns: int) -> Tensor:
        weight, bias = self._carried()
        a = a.to(weight.dtype)
        total = torch.zeros((), dtype=a.dtype) if self.carrier == "integer" else bias
        total = total.to(a.device).expand(len(a), rows, columns, -1 if total.ndim else a.shape[3]).clone()
        for tap, factor in zip(self.geometry.taps, weight, strict=True):
            total += self._tap(a, tap, rows, columns) * factor
        return (total + self.bias).float() * bias if self.carrier == "integer" else total.float()

    def _carried(self) -> tuple[Any, Tensor]:
        """Weights as the carrier wants them, and starting values with the scale of the outputs in both.

        Of the integer carrier the second is that scale alone.
        """
        key = self.carrier, self.weight.device
        if self._held is None or self._held[0] != key:
            scale = power_of_two(-self.shift)
            if self.carrier == "integer":
                self._held = key, (self.weight.int() if self.geometry.each else digits(self.weight), scale)
            else:
                dtype = getattr(torch, self.carrier)
                self._held = key, (self.weight.to(dtype) * scale.to(dtype), self.bias.to(dtype) * scale.to(dtype))
        return self._held[1]

    def values(self) -> tuple[Tensor, Tensor]:
        """What the integers stand for: weights, (taps, inputs or 1, outputs), and bias, (outputs); float64."""
        weight = self.weight.double().reshape(len(self.geometry.taps), -1, self.weight.shape[1])
        exponent = self.entry.exponent.double()
        steps = torch.exp2(-self.shift.double()), torch.exp2(exponent if self.geometry.each else exponent[:, None])
        return weight * steps[0] * steps[1], self.bias.double() * steps[0]

    def _load_from_state_dict(self, *args: Any) -> None:
        super()._load_from_state_dict(*args)
        self._held = None

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, carrier={self.carrier}"


Layer = nn.Conv2d | nn.ConvTranspose2d | nn.Linear


def shell_of(layer: Layer) -> ExactLayer:
    """The exact layer of a float one's form, its integers still zero.

    Raises :class:`~tinify.errors.InputError` for forms that no layer of the field has: other padding than zeros,
    dilation, a transposed convolution whose output is not ``stride`` times its input.
    """
    if isinstance(layer, nn.Linear):
        return ExactLayer(Geometry(), layer.in_features, layer.out_features)
    geometry = _transposed(layer) if isinstance(layer, nn.ConvTranspose2d) else _plain(layer)
    return ExactLayer(geometry, layer.in_channels, layer.out_channels, tuple(layer.kernel_size))  # type: ignore[arg-type]


def weights_of(layer: Layer, geometry: Geometry) -> tuple[Tensor, Tensor]:
    """A float layer's weights, (taps, inputs or 1, outputs), and bias, (outputs), as in its exact form; float64."""
    weight = arranged(layer, layer.weight.detach().double().cpu(), geometry)
    bias = torch.zeros(layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels).double()
    bias = bias if layer.bias is None else layer.bias.detach().double().cpu()
    return weight, bias.repeat_interleave(geometry.shuffle**2)


def arranged(layer: Layer, weight: Tensor, geometry: Geometry) -> Tensor:
    """Weights of a float layer's shape as those of its exact form, (taps, inputs or 1, outputs)."""
    if isinstance(layer, nn.Linear):
        return weight.t()[None]
    if isinstance(layer, nn.ConvTranspose2d):
        return _phases(layer, weight, geometry)
    if isinstance(layer, MaskedConv2d):
        weight = weight * layer.mask.to(weight)
    if geometry.each:
        return torch.stack([weight[:, 0, row, column][None] for row, column in geometry.taps])
    if layer.groups > 1:
        weight = _block_diagonal(weight, layer.groups)
    return torch.stack([weight[:, :, row, column].t() for row, column in geometry.taps])


def disarranged(layer: Layer, made: Tensor, geometry: Geometry) -> Tensor:
    """The inverse of :func:`arranged`, zero where a mask is."""
    # It moves each weight to one place, and so its adjoint moves it back.
    with torch.enable_grad():
        weight = made.new_zeros(layer.weight.shape, requires_grad=True)
        return torch.autograd.grad(arranged(layer, weight, geometry), weight, made)[0]


def _plain(layer: nn.Conv2d) -> Geometry:
    padding, stride = layer.padding, layer.stride[0]
    one = set(layer.stride) == {stride} and set(layer.dilation) == {1}
    if isinstance(padding, str) or layer.padding_mode != "zeros" or not one:
        raise InputError(f"{layer} has no exact form: expected one stride, numbers of zeros around, and no dilation")
    taps = tuple((row, column) for row in range(layer.kernel_size[0]) for column in range(layer.kernel_size[1]))
    if isinstance(layer, MaskedConv2d):
        taps = tuple(taps[place] for place in layer.taps())
    each = layer.groups == layer.in_channels == layer.out_channels > 1
    down, across = padding
    height, width = layer.kernel_size
    if isinstance(layer, MaskedConv2d):  # the window ends with the last tap that counts
        down_after = down - (height - 1 - max(row for row, _ in taps))
        across_after = across - (width - 1 - max(column for _, column in taps))
        return Geometry(taps, stride, (down, down_after, across, across_after), 1, each)
    return Geometry(taps, stride, (down, down, across, across), 1, each)


def _transposed(layer: nn.ConvTranspose2d) -> Geometry:
    kernel, stride, padding = _sides(layer)
    extra = stride - kernel + 2 * padding  # of an output padding that makes the output stride times as large
    even = all(len(set(pair)) == 1 for pair in (layer.kernel_size, layer.stride, layer.padding, layer.output_padding))
    if not even or layer.groups > 1 or layer.dilation != (1, 1) or layer.output_padding[0] != extra:
        raise InputError(f"{layer} has no exact form: expected its stride times the height and width that come in")
    first = -((kernel - 1 - padding) // stride)
    last = (stride - 1 + padding) // stride
    taps = tuple((row, column) for row in range(last - first + 1) for column in range(last - first + 1))
    return Geometry(taps, 1, (-first, last, -first, last), stride)


def _phases(layer: nn.ConvTranspose2d, weight: Tensor, geometry: Geometry) -> Tensor:
    """A transposed convolution's weights as those of a convolution of shuffled outputs: (taps, inputs, outputs)."""
    kernel, stride, padding = _sides(layer)
    inputs, outputs = weight.shape[:2]
    made = weight.new_zeros(len(geometry.taps), inputs, outputs, stride, stride)
    first = -geometry.pad[0]
    for tap, (down, across) in enumerate(geometry.taps):
        for i in range(stride):
            for j in range(stride):
                row, column = i + padding - stride * (down + first), j + padding - stride * (across + first)
                if 0 <= row < kernel and 0 <= column < kernel:
                    made[tap, :, :, i, j] = weight[:, :, row, column]
    return made.flatten(2)


def _sides(layer: nn.ConvTranspose2d) -> tuple[int, int, int]:
    """Kernel, stride and padding of a square one."""
    return layer.kernel_size[0], layer.stride[0], int(layer.padding[0])


def _block_diagonal(weight: Tensor, groups: int) -> Tensor:
    outputs, inputs = weight.shape[:2]
    made = weight.new_zeros(outputs, inputs * groups, *weight.shape[2:])
    for group in range(groups):
        rows = slice(group * outputs // groups, (group + 1) * outputs // groups)
        made[rows, group * inputs : (group + 1) * inputs] = weight[rows]
    return made
