"""Attention of residual blocks: one branch weighs the other, element by element."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from tinify import ops
from tinify.layers.residual import conv1x1, conv3x3


class _Unit(nn.Module):
    """A 3x3 convolution at half the channels between two 1x1 ones, beside an identity, and a ReLU behind."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = max(1, channels // 2)
        self.conv = nn.Sequential(
            conv1x1(channels, half),
            nn.ReLU(inplace=True),
            conv3x3(half, half),
            nn.ReLU(inplace=True),
            conv1x1(half, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(ops.residual(self.conv(x), x), inplace=True)


class AttentionBlock(nn.Module):
    """``x + a(x) * sigmoid(b(x))``, both branches three residual units.

    ``N`` is the number of channels. Cheng et al., Learned Image Compression with Discretized Gaussian Mixture
    Likelihoods and Attention Modules, CVPR 2020, section 3.3.

    >>> import torch
    >>> AttentionBlock(8)(torch.zeros(1, 8, 5, 7)).shape
    torch.Size([1, 8, 5, 7])
    """

    def __init__(self, N: int) -> None:
        super().__init__()
        self.conv_a = nn.Sequential(*(_Unit(N) for _ in range(3)))
        self.conv_b = nn.Sequential(*(_Unit(N) for _ in range(3)), conv1x1(N, N))

    def forward(self, x: Tensor) -> Tensor:
        gate: Tensor = self.conv_b(x).sigmoid_()
        return ops.residual(self.conv_a(x) * gate, x)


def attention(in_channels: int) -> AttentionBlock:
    """An :class:`AttentionBlock`."""
    return AttentionBlock(in_channels)
