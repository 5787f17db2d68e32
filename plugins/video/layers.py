"""Layers of video models."""

from __future__ import annotations

from torch import Tensor, nn

from tinify.layers import QReLU


class QReLULayer(nn.Module):
    """:class:`~tinify.layers.QReLU` as a layer."""

    def __init__(self, in_channels: int, bit_depth: int = 8, beta: float = 100.0) -> None:
        super().__init__()
        self.bit_depth, self.beta = bit_depth, beta

    def forward(self, x: Tensor) -> Tensor:
        clamped: Tensor = QReLU.apply(x, self.bit_depth, self.beta)  # type: ignore[no-untyped-call]
        return clamped

    def extra_repr(self) -> str:
        return f"bit_depth={self.bit_depth}, beta={self.beta:g}"
