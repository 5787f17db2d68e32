"""Which integers: from a float layer, and what comes into it, to the finest steps that the bound allows."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tinify.exact.arithmetic import INPUT_LIMIT, LIMIT, WEIGHT_LIMIT
from tinify.exact.entry import SLOPE_BITS, Entry
from tinify.exact.layers import ExactLayer, Layer, shell_of, weights_of

MARGIN = 1.5
"""How much larger than any number of the calibration an input may be before it is clamped."""
_SMALLEST = 2.0**-12
_FINEST, _COARSEST = 24, -12


@dataclass
class Seen:
    """What came into a layer: the largest magnitude and the mean square of each channel, (channels,) float64."""

    peak: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    power: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    count: int = 0

    def add(self, x: Tensor) -> None:
        """Takes a batch, (batch, channels, ...)."""
        rows = x.detach().double().cpu().transpose(0, 1).flatten(1)
        if not self.count:
            self.peak, self.power = rows.new_zeros(len(rows)), rows.new_zeros(len(rows))
        if rows.shape[1]:
            self.peak = torch.maximum(self.peak, rows.abs().amax(1))
            self.power = self.power + rows.square().sum(1)
            self.count += rows.shape[1]

    @property
    def rms(self) -> Tensor:
        """The root of the mean square of each channel."""
        return (self.power / max(1, self.count)).sqrt()


def exact_layer(layer: Layer, seen: Seen, slope: float = 1.0) -> ExactLayer:
    """The exact form of a float layer whose inputs were ``seen``, after an activation of that slope below zero.

    Rounding the inputs, and rounding the weights, adds noise; the limit on sums of magnitudes says how fine both can be
    together. With P the step of a sum, w a weight, a the step of its input, x what the input has been, that noise is
    ``(w**2 * a**2 + P**2 * x**2 / a**2) / 12``, least where ``a**4 = P**2 * x**2 / w**2``; the mean over a channel's
    weights takes the place of ``w**2 / P**2``.
    """
    made = shell_of(layer)
    weight, bias = weights_of(layer, made.geometry)
    reach = (MARGIN * seen.peak).clamp(min=_SMALLEST)
    step = _step_of_sums(weight, bias, reach)
    finest = torch.floor(torch.log2(INPUT_LIMIT / reach))
    noise = (weight / step).square()
    noise = noise[:, 0].mean(0) if made.geometry.each else noise.mean((0, 2))
    best = 0.25 * torch.log2(noise.clamp(min=1e-30) / seen.rms.clamp(min=_SMALLEST).square())
    exponent = torch.minimum(torch.round(best), finest).clamp(_COARSEST, _FINEST)
    _fill_entry(made.entry, exponent, reach, slope)
    _fill_weights(made, weight, bias, exponent, step)
    return made


def fill_activation(entry: Entry, seen: Seen, slope: float) -> None:
    """Sets the entry of an activation that stands by itself, as fine as inputs may be."""
    reach = (MARGIN * seen.peak).clamp(min=_SMALLEST)
    exponent = torch.floor(torch.log2(INPUT_LIMIT / reach)).clamp(_COARSEST, _FINEST)
    _fill_entry(entry, exponent, reach, slope)


def _step_of_sums(weight: Tensor, bias: Tensor, reach: Tensor) -> Tensor:
    """The smallest power of two for each output that keeps its sum of magnitudes below the limit."""
    inputs = _beside(reach, weight)
    total = (weight.abs() * inputs).sum((0, 1)) + bias.abs()
    return torch.exp2(torch.ceil(torch.log2(total.clamp(min=_SMALLEST) / (LIMIT - 1))).clamp(min=-_FINEST))


def _fill_entry(entry: Entry, exponent: Tensor, reach: Tensor, slope: float) -> None:
    high = torch.ceil(reach * torch.exp2(exponent)).clamp(1, INPUT_LIMIT)
    shift = round(slope * (1 << SLOPE_BITS))
    # What is negative shrinks by the slope, so more of it fits.
    low = torch.floor(high * ((1 << SLOPE_BITS) / abs(shift))).clamp(max=LIMIT - 1) if shift else torch.zeros_like(high)
    entry.set(exponent, -low, high, shift)


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
