"""Residual blocks of the field, and the small convolutions that they are made of."""

from __future__ import annotations

from torch import Tensor, nn

from tinify import ops
from tinify.layers.gdn import GDN


def conv3x3(in_ch: int, out_ch: int, stride: int = 1) -> nn.Conv2d:
    """A 3x3 convolution with padding."""
    return nn.Conv2d(in_ch, out_ch, 3, stride=stride, padding=1)


def conv1x1(in_ch: int, out_ch: int, stride: int = 1) -> nn.Conv2d:
    """A 1x1 convolution."""
    return nn.Conv2d(in_ch, out_ch, 1, stride=stride)


def subpel_conv3x3(in_ch: int, out_ch: int, r: int = 1) -> nn.Sequential:
    """A 3x3 convolution and a pixel shuffle: height and width are multiplied by ``r``."""
    return subpel_conv(in_ch, out_ch, 3, r)


def subpel_conv(in_channels: int, out: int, kernel: int = 3, factor: int = 2) -> nn.Sequential:
    """A convolution and a pixel shuffle: height and width are multiplied by ``factor``."""
    widened = nn.Conv2d(in_channels, out * factor**2, kernel, padding=kernel // 2)
    return nn.Sequential(widened, nn.PixelShuffle(factor))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, each with a LeakyReLU, beside an identity (a 1x1 convolution to other channels).

    Cheng et al., Learned Image Compression with Discretized Gaussian Mixture Likelihoods and Attention Modules,
    CVPR 2020, figure 4.

    >>> import torch
    >>> ResidualBlock(3, 8)(torch.zeros(1, 3, 5, 7)).shape
    torch.Size([1, 8, 5, 7])
    """

    def __init__(self, in_ch: int, out_ch: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_ch, out_ch)
        self.conv2 = conv3x3(out_ch, out_ch)
        self.leaky_relu = nn.LeakyReLU(inplace=True)
        self.skip = conv1x1(in_ch, out_ch) if in_ch != out_ch else None

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.leaky_relu(self.conv2(self.leaky_relu(self.conv1(x))))
        identity: Tensor = x if self.skip is None else self.skip(x)
        return ops.residual(out, identity)


class ResidualBlockWithStride(nn.Module):
    """Two 3x3 convolutions, the first with a stride, LeakyReLU and GDN, beside a 1x1 convolution with that stride.

    Cheng et al., CVPR 2020, figure 4.

    >>> import torch
    >>> ResidualBlockWithStride(3, 8)(torch.zeros(1, 3, 6, 8)).shape
    torch.Size([1, 8, 3, 4])
    """

    def __init__(self, in_ch: int, out_ch: int, stride: int = 2) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_ch, out_ch, stride)
        self.leaky_relu = nn.LeakyReLU(inplace=True)
        self.conv2 = conv3x3(out_ch, out_ch)
        self.gdn = GDN(out_ch)
        self.skip = conv1x1(in_ch, out_ch, stride) if stride != 1 or in_ch != out_ch else None

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.gdn(self.conv2(self.leaky_relu(self.conv1(x))))
        identity: Tensor = x if self.skip is None else self.skip(x)
        return ops.residual(out, identity)


class ResidualBlockUpsample(nn.Module):
    """A sub-pixel convolution, LeakyReLU, a 3x3 convolution and IGDN, beside another sub-pixel convolution.

    Cheng et al., CVPR 2020, figure 4.

    >>> import torch
    >>> ResidualBlockUpsample(8, 3)(torch.zeros(1, 8, 3, 4)).shape
    torch.Size([1, 3, 6, 8])
    """

    def __init__(self, in_ch: int, out_ch: int, upsample: int = 2) -> None:
        super().__init__()
        self.subpel_conv = subpel_conv3x3(in_ch, out_ch, upsample)
        self.leaky_relu = nn.LeakyReLU(inplace=True)
        self.conv = conv3x3(out_ch, out_ch)
        self.igdn = GDN(out_ch, inverse=True)
        self.upsample = subpel_conv3x3(in_ch, out_ch, upsample)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.igdn(self.conv(self.leaky_relu(self.subpel_conv(x))))
        identity: Tensor = self.upsample(x)
        return ops.residual(out, identity)


class ResidualBottleneckBlock(nn.Module):
    """A 3x3 convolution at half the channels between two 1x1 ones, beside an identity.

    He et al., ELIC: Efficient Learned Image Compression with Unevenly Grouped Space-Channel Contextual Adaptive Coding,
    CVPR 2022, figure 3.

    >>> import torch
    >>> ResidualBottleneckBlock(8, 8)(torch.zeros(1, 8, 5, 7)).shape
    torch.Size([1, 8, 5, 7])
    """

    def __init__(self, in_ch: int, out_ch: int) -> None:
        super().__init__()
        half = max(1, min(in_ch, out_ch) // 2)
        self.conv1 = conv1x1(in_ch, half)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv3x3(half, half)
        self.conv3 = conv1x1(half, out_ch)
        self.skip = conv1x1(in_ch, out_ch) if in_ch != out_ch else None

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv3(self.relu(self.conv2(self.relu(self.conv1(x)))))
        identity: Tensor = x if self.skip is None else self.skip(x)
        return ops.residual(out, identity)


def residual_block(in_channels: int, out: int) -> ResidualBlock:
    """A :class:`ResidualBlock` to ``out`` channels."""
    return ResidualBlock(in_channels, out)


def residual_block_stride(in_channels: int, out: int, stride: int = 2) -> ResidualBlockWithStride:
    """A :class:`ResidualBlockWithStride` to ``out`` channels."""
    return ResidualBlockWithStride(in_channels, out, stride)


def residual_block_upsample(in_channels: int, out: int, factor: int = 2) -> ResidualBlockUpsample:
    """A :class:`ResidualBlockUpsample` to ``out`` channels."""
    return ResidualBlockUpsample(in_channels, out, factor)


def residual_bottleneck(in_channels: int) -> ResidualBottleneckBlock:
    """A :class:`ResidualBottleneckBlock` that keeps the channels."""
    return ResidualBottleneckBlock(in_channels, in_channels)
