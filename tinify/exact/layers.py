"""Convolutions of every kind as one layer of integers: taps are gathered, then there is one matrix product."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

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
from tinify.exact.geometry import Geometry, Pad, block_diagonal, by_phases, by_taps, plain, transposed
from tinify.layers import MaskedConv2d

_EXPONENT_LIMIT = 64
"""Of two: float32 holds the numbers that come of it."""


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
        if bool((self.entry.low > 0).any() | (self.entry.high < 0).any()):
            raise InputError(f"{name}: the limits of its inputs leave out 0, which is what its padding is")
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

    def _spread(self, a: Tensor, pad: Pad) -> Tensor:
        sums = self._each if self.geometry.each else self._gathered
        return self.geometry.convolve(a, pad, self.weight.shape[1], sums)

    def _gathered(self, seen: list[Tensor]) -> Tensor:
        a = torch.cat(seen, 3) if len(seen) > 1 else seen[0]
        return self._sums(a.reshape(-1, a.shape[3])).reshape(*a.shape[:3], -1)

    def _sums(self, a: Tensor) -> Tensor:
        """Weighted sums of rows of integers, float32."""
        held = self._carried()
        if self.carrier == "integer":
            return (integer_products(a, held[0]) + self.bias).float() * held[1]
        with plain_arithmetic(a.device):
            sums: Tensor = torch.addmm(held[1], a.to(held[0].dtype), held[0])
            return sums.float()

    def _each(self, seen: list[Tensor]) -> Tensor:
        weight, bias = self._carried()
        total = torch.zeros_like(bias, dtype=weight.dtype) if self.carrier == "integer" else bias
        total = total.expand_as(seen[0]).clone()
        part = torch.empty_like(total)  # fresh memory for each tap would cost as much as the arithmetic
        for a, factor in zip(seen, weight, strict=True):
            total += torch.mul(a.to(weight.dtype), factor, out=part)
        return (total + self.bias).float() * bias if self.carrier == "integer" else total.float()

    def _carried(self) -> tuple[Any, Tensor]:
        """Weights as the carrier wants them, and starting values with the scale of the outputs in both.

        Of the integer carrier the second is that scale alone.
        """
        key = self.carrier, self.weight.device
        if self._held is None or self._held[0] != key:
            if self.carrier == "integer":
                weight: Any = self.weight.int() if self.geometry.each else digits(self.weight)
                self._held = key, (weight, power_of_two(-self.shift))
            else:
                self._held = key, self.floats(getattr(torch, self.carrier))
        return self._held[1]

    def floats(self, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        """Weights and bias as numbers to compute with, the scale of the outputs in both."""
        scale = power_of_two(-self.shift).to(dtype)
        return self.weight.to(dtype) * scale, self.bias.to(dtype) * scale

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
        return by_phases(weight, geometry, int(layer.padding[0]))
    if isinstance(layer, MaskedConv2d):
        weight = weight * layer.mask.to(weight)
    if layer.groups > 1 and not geometry.each:
        weight = block_diagonal(weight, layer.groups)
    weight = by_taps(weight)
    return weight[list(layer.taps())] if isinstance(layer, MaskedConv2d) else weight


def parameters_of(layer: Layer, made: ExactLayer) -> dict[str, Tensor]:
    """What an exact layer's integers stand for, by the names of a float layer's parameters and in their shapes.

    Weights that a mask hides are zero.
    """
    weight, bias = made.values()
    with torch.enable_grad():  # arranging moves each weight to one place, and so its adjoint moves it back
        moved = weight.new_zeros(layer.weight.shape, requires_grad=True)
        [back] = torch.autograd.grad(arranged(layer, moved, made.geometry), moved, weight)
    found = {"weight": back.to(layer.weight.dtype)}
    if layer.bias is not None:
        # Phases of a transposed convolution round one bias each: to steps far below those of float32 arithmetic.
        found["bias"] = bias.reshape(len(layer.bias), -1).mean(1).to(layer.bias.dtype)
    return found


def _plain(layer: nn.Conv2d) -> Geometry:
    padding, stride = layer.padding, layer.stride[0]
    one = set(layer.stride) == {stride} and set(layer.dilation) == {1}
    if isinstance(padding, str) or layer.padding_mode != "zeros" or not one:
        raise InputError(f"{layer} has no exact form: expected one stride, numbers of zeros around, and no dilation")
    each = layer.groups == layer.in_channels == layer.out_channels > 1
    geometry = plain(layer.kernel_size, padding, stride, each=each)
    if not isinstance(layer, MaskedConv2d):
        return geometry
    height, width = geometry.size
    geometry = replace(geometry, taps=tuple(geometry.taps[place] for place in layer.taps()))
    # The window ends with the last tap that counts.
    below, behind = height - geometry.size[0], width - geometry.size[1]
    down, across = padding
    return replace(geometry, pad=(down, down - below, across, across - behind))


def _transposed(layer: nn.ConvTranspose2d) -> Geometry:
    kernel, stride, padding = layer.kernel_size[0], layer.stride[0], int(layer.padding[0])
    extra = stride - kernel + 2 * padding  # of an output padding that makes the output stride times as large
    even = all(len(set(pair)) == 1 for pair in (layer.kernel_size, layer.stride, layer.padding, layer.output_padding))
    if not even or layer.groups > 1 or layer.dilation != (1, 1) or layer.output_padding[0] != extra:
        raise InputError(f"{layer} has no exact form: expected its stride times the height and width that come in")
    return transposed(kernel, stride, padding)
