"""Convolutions as TensorFlow has them: padding "same", Glorot's initial weights, zero biases."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SameConv2d(nn.Conv2d):
    """A convolution of which ``kernel - stride`` zeros pad each axis, the odd one behind; no more for stride 1.

    (batch, C, height, width) becomes (batch, out, height / stride, width / stride), for multiples of the stride.
    Weights begin as in Glorot and Bengio, Understanding the Difficulty of Training Deep Feedforward Neural Networks,
    AISTATS 2010.

    >>> SameConv2d(1, 20, 5, 2)(torch.zeros(1, 1, 28, 28)).shape
    torch.Size([1, 20, 14, 14])
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride)
        self.pads = _pads(kernel_size, stride)

    def reset_parameters(self) -> None:
        _glorot(self)

    def forward(self, x: Tensor) -> Tensor:
        if self.kernel_size == (1, 1) and x.shape[2:] == (1, 1):  # a convolution takes five times as long for one pixel
            return F.linear(x.flatten(1), self.weight.flatten(1), self.bias)[..., None, None]
        return super().forward(F.pad(x, self.pads * 2))


class SameConvTranspose2d(nn.ConvTranspose2d):
    """The transposed convolution of :class:`SameConv2d`: height and width are multiplied by the stride."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride)
        self.pads = _pads(kernel_size, stride)

    def reset_parameters(self) -> None:
        _glorot(self)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        return F.pad(super().forward(x, output_size), [-pad for pad in self.pads * 2])


def same_conv(in_channels: int, out: int, kernel: int = 5, stride: int = 2) -> SameConv2d:
    """A :class:`SameConv2d` to ``out`` channels."""
    return SameConv2d(in_channels, out, kernel, stride)


def same_deconv(in_channels: int, out: int, kernel: int = 5, stride: int = 2) -> SameConvTranspose2d:
    """A :class:`SameConvTranspose2d` to ``out`` channels."""
    return SameConvTranspose2d(in_channels, out, kernel, stride)


def _pads(kernel: int, stride: int) -> tuple[int, int]:
    """Zeros in front of an axis, and behind it."""
    whole = kernel - stride
    return whole // 2, whole - whole // 2


@torch.no_grad()
def _glorot(layer: nn.Conv2d | nn.ConvTranspose2d) -> None:
    nn.init.xavier_uniform_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
