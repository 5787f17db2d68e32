"""Which integers: from a float layer, and what comes into it, to the finest steps that the bound allows."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tinify.exact.arithmetic import INPUT_LIMIT, LIMIT, WEIGHT_LIMIT
from tinify.exact.entry import SLOPE_BITS, Entry, ExactActivation
from tinify.exact.layers import ExactLayer, Layer, shell_of, weights_of

MARGIN = 1.25
"""How much farther from zero than any number of the calibration an input may be before it is clamped."""
_SMALLEST = 2.0**-12
_FINEST, _COARSEST = 24, -12


def _none() -> Tensor:
    return torch.zeros(0, dtype=torch.float64)


@dataclass
class Seen:
    """What came into a layer: of each channel the ends, zero between them, and the magnitudes' sum; float64."""

    low: Tensor = field(default_factory=_none)
    high: Tensor = field(default_factory=_none)
    total: Tensor = field(default_factory=_none)
    count: int = 0

    def add(self, x: Tensor) -> None:
        """Takes a batch, (batch, channels, ...)."""
        rows = x.detach().double().cpu().transpose(0, 1).flatten(1)
        if not self.count:
            self.low, self.high, self.total = (rows.new_zeros(len(rows)) for _ in range(3))
        if rows.shape[1]:
            self.low = torch.minimum(self.low, rows.amin(1))
            self.high = torch.maximum(self.high, rows.amax(1))
            self.total = self.total + rows.abs().sum(1)
            self.count += rows.shape[1]

    @property
    def reach(self) -> tuple[Tensor, Tensor]:
        """How far below zero, and above, each channel may go."""
        return (-self.low * MARGIN).clamp(min=_SMALLEST), (self.high * MARGIN).clamp(min=_SMALLEST)

    @property
    def magnitude(self) -> Tensor:
        """The mean magnitude of each channel."""
        return self.total / max(1, self.count)


def exact_layer(layer: Layer, seen: Seen, slope: float = 1.0) -> ExactLayer:
    """The exact form of a float layer whose inputs were ``seen``, after an activation of that slope below zero.

    Rounding the inputs, and rounding the weights, adds noise; the limit on sums says how fine both can be
    together. With P the step of a sum, w a weight, a the step of its input, x what the input has been, that noise is
    ``(w**2 * a**2 + P**2 * x**2 / a**2) / 12``, least where ``a**4 = P**2 * x**2 / w**2``; the mean over a channel's
    weights takes the place of ``w**2 / P**2``. For x stands the mean magnitude, not the root of the mean square: noise
    costs most where scales are small, and there inputs are. For the same reason steps are rounded down.
    """
    made = shell_of(layer)
    weight, bias = weights_of(layer, made.geometry)
    step = _step_of_sums(weight, bias, seen)
    noise = (weight / step).square()
    noise = noise[:, 0].mean(0) if made.geometry.each else noise.mean((0, 2))
    best = 0.25 * torch.log2(noise.clamp(min=1e-30) / seen.magnitude.clamp(min=_SMALLEST).square())
    exponent = torch.minimum(torch.ceil(best), _finest(seen)).clamp(_COARSEST, _FINEST)
    _fill_entry(made.entry, exponent, seen, slope)
    _fill_weights(made, weight, bias, exponent, step)
    return made


def exact_activation(seen: Seen, slope: float) -> ExactActivation:
    """The exact form of an activation that stands by itself, as fine as inputs may be."""
    made = ExactActivation(len(seen.low))
    # What was seen came before the activation.
    after = Seen(seen.low * abs(slope), seen.high, seen.total, seen.count)
    _fill_entry(made.entry, _finest(after).clamp(_COARSEST, _FINEST), after, slope)
    return made


def _finest(seen: Seen) -> Tensor:
    """The exponents with which all that inputs may reach is as large as integers get."""
    return torch.floor(torch.log2(INPUT_LIMIT / torch.maximum(*seen.reach)))


def _step_of_sums(weight: Tensor, bias: Tensor, seen: Seen) -> Tensor:
    """The smallest power of two for each output that keeps every sum of some of its products below the limit."""
    down, up = (_beside(reach, weight) for reach in seen.reach)
    more, less = weight.clamp(min=0), (-weight).clamp(min=0)
    above = (more * up + less * down).sum((0, 1)) + bias.clamp(min=0)
    below = (more * down + less * up).sum((0, 1)) + (-bias).clamp(min=0)
    total = torch.maximum(above, below).clamp(min=_SMALLEST)
    return torch.exp2(torch.ceil(torch.log2(total / (LIMIT - 1))).clamp(min=-_FINEST))


def _fill_entry(entry: Entry, exponent: Tensor, seen: Seen, slope: float) -> None:
    down, up = (torch.ceil(reach * torch.exp2(exponent)).clamp(1, INPUT_LIMIT) for reach in seen.reach)
    shift = round(slope * (1 << SLOPE_BITS))
    # What is negative shrinks by the slope, so more of it fits.
    low = torch.floor(down * ((1 << SLOPE_BITS) / abs(shift))).clamp(max=LIMIT - 1) if shift else torch.zeros_like(down)
    entry.set(exponent, -low, up, shift)


def _fill_weights(made: ExactLayer, weight: Tensor, bias: Tensor, exponent: Tensor, step: Tensor) -> None:
    shift = -torch.log2(step)
    inputs = _beside(exponent, weight)
    for _ in range(64):
        rounded = torch.round(weight * torch.exp2(shift - inputs))
        made.weight = rounded.flatten(0, 1).clamp(-WEIGHT_LIMIT, WEIGHT_LIMIT).to(torch.int16)
        made.bias = torch.round(bias * torch.exp2(shift)).to(torch.int32)
        made.shift = shift.to(torch.int8)
        over = (made.bound() >= LIMIT) | (rounded.abs() > WEIGHT_LIMIT).flatten(0, 1).any(0)
        if not bool(over.any()):
            break
        shift = shift - over.double()
    made.check(f"{made}")


def _beside(inputs: Tensor, weight: Tensor) -> Tensor:
    """Numbers of the inputs so that they broadcast against weights, (taps, inputs, outputs), or (taps, 1, channels)."""
    return inputs[None, None, :] if weight.shape[1] == 1 < len(inputs) else inputs[None, :, None]


def rounded_slope(slope: float) -> float:
    """The slope that an exact activation has in the place of another."""
    return math.floor(slope * (1 << SLOPE_BITS) + 0.5) / (1 << SLOPE_BITS)
