"""Residual blocks."""

from __future__ import annotations

from torch import Tensor, nn

from tinify import ops


class DepthwiseBlock(nn.Module):
    """Two residual branches: a depthwise convolution between two 1x1 ones, then a 1x1 bottleneck the other way round.

    Input and output are (batch, in_channels, height, width). Most of the work is in 1x1 convolutions, which a CPU does
    well; the shape follows the depthwise blocks of DCVC-DC (Li et al., Neural Video Compression with Diverse Contexts,
    CVPR 2023).

    >>> import torch
    >>> DepthwiseBlock(8)(torch.zeros(1, 8, 4, 4)).shape
    torch.Size([1, 8, 4, 4])
    """

    def __init__(self, in_channels: int, kernel: int = 3, expansion: int = 2) -> None:
        super().__init__()
        n, wide = in_channels, in_channels * expansion
        self.spatial = nn.Sequential(
            nn.Conv2d(n, n, 1),
            nn.LeakyReLU(0.1, inplace=True),
            nn.Conv2d(n, n, kernel, padding=kernel // 2, groups=n),
            nn.Conv2d(n, n, 1),
        )
        self.pointwise = nn.Sequential(
            nn.Conv2d(n, wide, 1),
            nn.LeakyReLU(0.1, inplace=True),
            nn.Conv2d(wide, n, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = ops.residual(self.spatial(x), x)
        return ops.residual(self.pointwise(x), x)
