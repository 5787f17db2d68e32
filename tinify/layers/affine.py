"""Fixed affine steps: they move a signal into the range where half precision and the initialisation are at home."""

from __future__ import annotations

from torch import Tensor, nn


class Scale(nn.Module):
    """Multiplies by a constant; the channel count is ignored."""

    def __init__(self, in_channels: int, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


class Offset(nn.Module):
    """Adds a constant; the channel count is ignored."""

    def __init__(self, in_channels: int, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: Tensor) -> Tensor:
        return x + self.value
