"""Attention of residual blocks: one branch weighs the other, element by element."""

from __future__ import annotations

import torch
from torch import Tensor, nn

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
        return torch.relu(self.conv(x) + x)


class AttentionBlock(nn.Module):
    """``x + a(x) * sigmoid(b(x))``, both branches three residual units.

    ``N`` is the number of channels. Cheng et al., Learned Image Compression with Discretized Gaussian Mixture
    Likelihoods and Attention Modules, CVPR 2020, section 3.3.

    >>> AttentionBlock(8)(torch.zeros(1, 8, 5, 7)).shape
    torch.Size([1, 8, 5, 7])
    """

    def __init__(self, N: int) -> None:
        super().__init__()
        self.conv_a = nn.Sequential(*(_Unit(N) for _ in range(3)))
        self.conv_b = nn.Sequential(*(_Unit(N) for _ in range(3)), conv1x1(N, N))

    def forward(self, x: Tensor) -> Tensor:
        weighed: Tensor = self.conv_a(x) * torch.sigmoid(self.conv_b(x))
        return weighed + x


def attention(in_channels: int) -> AttentionBlock:
    """An :class:`AttentionBlock`."""
    return AttentionBlock(in_channels)
