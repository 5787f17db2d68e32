"""What flows between components, as far as it is known without tensors: channels, strides, and what a part costs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction


class ShapeError(Exception):
    """Raised by a shape rule that cannot take its inputs; ``slot`` names the child that is at fault, if it is one."""

    def __init__(self, message: str, slot: str | None = None) -> None:
        super().__init__(message, slot)
        self.message, self.slot = message, slot


@dataclass(frozen=True)
class Sig:
    """The signature of a tensor: channels, and how many pixels of the picture one element spans per side.

    Pictures have two ``axes``, sequences and sets of points one: (batch, channels, points).

    >>> str(Sig(3).strided(16).with_channels(192))
    '192ch@1/16'
    >>> str(Sig(3, axes=1))
    '3ch@1/1, 1 axis'
    """

    channels: int
    stride: Fraction = Fraction(1)
    axes: int = 2

    def __post_init__(self) -> None:
        object.__setattr__(self, "stride", Fraction(self.stride))  # whole numbers are welcome

    def strided(self, factor: int | Fraction) -> Sig:
        """The signature after a stride of ``factor``; below 1 for a larger output."""
        return replace(self, stride=self.stride * Fraction(factor))

    def with_channels(self, channels: int) -> Sig:
        """The signature with other channels."""
        return replace(self, channels=channels)

    def __str__(self) -> str:
        axes = "" if self.axes == 2 else f", {self.axes} ax{'i' if self.axes == 1 else 'e'}s"
        return f"{self.channels}ch@{self.stride.denominator}/{self.stride.numerator}{axes}"


@dataclass(frozen=True)
class Cost:
    """What a component costs by itself: its parameters, and multiply-accumulates for each pixel of the picture.

    >>> Cost(10, Fraction(1, 4)) + Cost(5)
    Cost(parameters=15, macs=Fraction(1, 4))
    """

    parameters: int = 0
    macs: Fraction = Fraction(0)

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.parameters + other.parameters, self.macs + other.macs)
