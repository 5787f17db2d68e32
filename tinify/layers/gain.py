"""Gain units: one model for a whole range of rates."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn

from tinify.errors import InputError


class VariableRate(nn.Module):
    """A part that follows the quality: a model that has one can be asked for any quality in its range."""

    @property
    @abstractmethod
    def qualities(self) -> tuple[float, float]:
        """The lowest and the highest quality."""

    @property
    @abstractmethod
    def default(self) -> float:
        """The quality where none is said."""

    def checked(self, quality: float | Tensor | None) -> Tensor:
        """The quality of each batch item, or of all, (1 or batch,); :class:`~tinify.errors.InputError` out of range."""
        low, high = self.qualities
        asked = torch.as_tensor(self.default if quality is None else quality, dtype=torch.float32).reshape(-1)
        if asked.device.type != "meta" and not bool(((asked >= low) & (asked <= high)).all()):
            raise InputError(f"quality {quality}: expected a number from {low:g} to {high:g}")
        return asked


class GainUnit(VariableRate):
    """A factor for each channel and quality.

    Qualities run from 1 to ``points``, in any fraction; between whole ones the logarithms of the factors are
    interpolated. At first all channels have the same factor, ``span`` times as large at the best quality as at the
    worst. Larger factors before rounding are finer steps: more bits and less distortion; a second unit after it takes
    them back.
    Cui, Wang, Gao, Guo, Feng, Bai: Asymmetric Gained Deep Image Compression With Continuous Rate Adaptation, CVPR 2021.

    >>> unit, y = GainUnit(1, points=3, span=4.0), torch.ones(2, 1, 1, 1)
    >>> unit(y, 3).flatten().tolist(), unit(y, torch.tensor([1.0, 2.0])).flatten().tolist()
    ([2.0, 2.0], [0.5, 1.0])
    """

    def __init__(self, in_channels: int, points: int = 10, span: float = 1.0) -> None:
        super().__init__()
        if points < 2 or not span > 0:
            raise InputError(f"a gain unit of {points} points and span {span}: expected 2 or more, and a positive span")
        self.points = points
        rising = torch.linspace(-0.5, 0.5, points)[:, None].repeat(1, in_channels)
        self.log_gain = nn.Parameter(rising * math.log(span))

    @property
    def qualities(self) -> tuple[float, float]:
        return 1.0, float(self.points)

    @property
    def default(self) -> float:
        return float((self.points + 1) // 2)

    def forward(self, y: Tensor, quality: float | Tensor | None = None) -> Tensor:
        """``y``, (batch, channels, height, width), times the factors of ``quality``.

        That is a number, or one for each batch item; ``default`` where it is None. Raises
        :class:`~tinify.errors.InputError` for one out of range.
        """
        table = self.log_gain
        place = self.checked(quality).to(table) - 1
        below = place.floor().clamp(max=self.points - 2).long()
        factors = torch.lerp(table[below], table[below + 1], (place - below)[:, None]).exp()
        return y * factors[:, :, None, None]

    def extra_repr(self) -> str:
        return f"{self.log_gain.shape[1]}, points={self.points}"
