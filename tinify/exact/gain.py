"""Gains of variable rate from integers: a table of logarithms, interpolated, and a table of powers of two."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from tinify.exact.entry import power_of_two
from tinify.exact.forms import FORMS
from tinify.layers.gain import GainUnit

LOG_BITS = 16
"""Logarithms to base 2 are multiples of 2^-16."""
_HALF = LOG_BITS // 2
_POWER_BITS = 23
_STEPS = 1000
"""Steps from one quality to the next: files keep thousandths."""


class ExactGain(GainUnit):
    """A gain unit whose factors are found by integers alone, to 2^-16 of an octave, and so the same everywhere.

    ``logarithm`` is int32, (points, channels). Qualities are rounded to thousandths, as files keep them.

    >>> unit = ExactGain.of(GainUnit(1, points=3, span=4.0))
    >>> unit(torch.ones(1, 1, 1, 1), 2.5).item() == unit(torch.ones(1, 1, 1, 1), 2.5004).item()
    True
    """

    logarithm: Tensor

    def __init__(self, in_channels: int, points: int = 10) -> None:
        super().__init__(in_channels, points)
        del self.log_gain
        self.register_buffer("logarithm", torch.zeros(points, in_channels, dtype=torch.int32))

    @classmethod
    def of(cls, unit: GainUnit) -> ExactGain:
        """The exact form of a gain unit."""
        made = cls(unit.log_gain.shape[1], unit.points)
        made.logarithm = logarithms(unit.log_gain)
        return made

    def thawed(self) -> dict[str, Tensor]:
        """The parameters of the gain unit that it stands for."""
        return {"log_gain": natural(self.logarithm).float()}

    def forward(self, y: Tensor, quality: float | Tensor | None = None) -> Tensor:
        return y * interpolated(self.logarithm, self.checked(quality)).to(y.device)[:, :, None, None]

    def extra_repr(self) -> str:
        return f"{self.logarithm.shape[1]}, points={self.points}"


FORMS[GainUnit] = ExactGain.of


def logarithms(natural: Tensor) -> Tensor:
    """Natural logarithms of gains as :func:`interpolated` wants them, int32."""
    return torch.round(natural.detach().double() / math.log(2) * 2**LOG_BITS).int()


def natural(logarithms: Tensor) -> Tensor:
    """The inverse of :func:`logarithms`, float64."""
    found: Tensor = logarithms.double() * (math.log(2) / 2**LOG_BITS)
    return found


def interpolated(table: Tensor, quality: Tensor) -> Tensor:
    """Gains of qualities from 1 on, float32 (qualities, channels): ``table`` is (points, channels), by integers."""
    place = torch.round((quality.double().cpu() - 1) * _STEPS).long()
    below = (place // _STEPS).clamp(max=len(table) - 2)
    part = (place - below * _STEPS)[:, None]
    table = table.cpu().long()
    return _power((table[below] * (_STEPS - part) + table[below + 1] * part) // _STEPS)


def _power(logarithm: Tensor) -> Tensor:
    """Two to the power of logarithms in 2^-16, float32: a product of two looked up, cut to 24 bits."""
    coarse, fine = _tables()
    part = logarithm & (1 << LOG_BITS) - 1
    mantissa = coarse[part >> _HALF] * fine[part & (1 << _HALF) - 1] >> _POWER_BITS
    return mantissa.float() * power_of_two((logarithm >> LOG_BITS) - _POWER_BITS)


@lru_cache(maxsize=1)
def _tables() -> tuple[Tensor, Tensor]:
    """Powers of two at steps of 2^-8 and of 2^-16, in 2^-23: square roots of integers leave nothing to chance."""
    return _roots(_HALF), _roots(LOG_BITS)


def _roots(bits: int) -> Tensor:
    one = 1 << 128
    root = 2 * one
    for _ in range(bits):
        root = math.isqrt(root * one)
    powers: list[Any] = [one]
    for _ in range((1 << _HALF) - 1):
        powers.append(powers[-1] * root >> 128)
    half = 1 << 128 - _POWER_BITS - 1
    return torch.tensor([power + half >> 128 - _POWER_BITS for power in powers])
