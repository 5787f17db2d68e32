"""Convolutions with the field's padding, and the two pixel shuffles."""

from __future__ import annotations

from torch import nn


def conv(in_channels: int, out: int, kernel: int = 5, stride: int = 2) -> nn.Conv2d:
    """A convolution to ``out`` channels, padded by ``kernel // 2``: height and width are divided by ``stride``."""
    return nn.Conv2d(in_channels, out, kernel, stride=stride, padding=kernel // 2)


def deconv(in_channels: int, out: int, kernel: int = 5, stride: int = 2) -> nn.ConvTranspose2d:
    """A transposed convolution to ``out`` channels: height and width are multiplied by ``stride``."""
    return nn.ConvTranspose2d(in_channels, out, kernel, stride=stride, padding=kernel // 2, output_padding=stride - 1)


def pixel_shuffle(in_channels: int, factor: int = 2) -> nn.PixelShuffle:
    """Moves ``factor**2`` channels into space: (C * f * f, H, W) becomes (C, H * f, W * f)."""
    return nn.PixelShuffle(factor)


def pixel_unshuffle(in_channels: int, factor: int = 2) -> nn.PixelUnshuffle:
    """Moves space into ``factor**2`` channels: (C, H * f, W * f) becomes (C * f * f, H, W)."""
    return nn.PixelUnshuffle(factor)
