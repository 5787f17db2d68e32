"""Masked convolutions: they see only what a decoder has already."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tinify.errors import InputError


class MaskedConv2d(nn.Conv2d):
    """A convolution that sees the positions before its own in raster order; its own too with ``mask_type="B"``.

    Takes what ``nn.Conv2d`` takes. The taps outside the mask get no gradient, and never count, whatever their weights.
    Van den Oord et al., Conditional Image Generation with PixelCNN Decoders, NeurIPS 2016.

    >>> MaskedConv2d(1, 1, 3, padding=1).mask[0, 0].tolist()
    [[1.0, 1.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """

    mask: Tensor

    def __init__(self, *args: Any, mask_type: str = "A", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if mask_type not in ("A", "B"):
            raise InputError(f"mask_type {mask_type!r}: expected 'A', or 'B' to see the position itself too")
        self.mask_type = mask_type
        self.register_buffer("mask", self._seen().to(self.weight).expand_as(self.weight).clone())

    def _seen(self) -> Tensor:
        """Which taps count, (height, width)."""
        height, width = self.kernel_size
        place = torch.arange(height * width).reshape(height, width)
        seen: Tensor = place < height // 2 * width + width // 2 + (self.mask_type == "B")
        return seen

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self._conv_forward(x, self.weight * self.mask, self.bias)
        return out


class CheckerboardMaskedConv2d(MaskedConv2d):
    """A convolution that sees the positions of the other colour; its own too with ``mask_type="B"``.

    He, Zheng, Sun, Wang, Qin: Checkerboard Context Model for Efficient Learned Image Compression, CVPR 2021.

    >>> CheckerboardMaskedConv2d(1, 1, 3, padding=1).mask[0, 0].tolist()
    [[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]
    """

    def _seen(self) -> Tensor:
        height, width = self.kernel_size
        seen: Tensor = (torch.arange(height)[:, None] - height // 2 + torch.arange(width) - width // 2) % 2 == 1
        seen[height // 2, width // 2] = self.mask_type == "B"
        return seen


def masked_conv(in_channels: int, out: int | None = None, kernel: int = 5, mask: str = "A") -> MaskedConv2d:
    """A masked convolution that keeps height and width, and the channels if ``out`` is None."""
    return MaskedConv2d(in_channels, out or in_channels, kernel, padding=kernel // 2, mask_type=mask)


def checkerboard_conv(in_channels: int, out: int | None = None, kernel: int = 5) -> CheckerboardMaskedConv2d:
    """A convolution over the other colour that keeps height and width, and the channels if ``out`` is None."""
    return CheckerboardMaskedConv2d(in_channels, out or in_channels, kernel, padding=kernel // 2)
