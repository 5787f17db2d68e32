"""Masked convolutions: they see only what a decoder has already."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tinify.errors import InputError
from tinify.ops import conv_at, masked_conv2d


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
        seen = self._seen()
        self.register_buffer("mask", seen.to(self.weight).expand_as(self.weight).clone())
        self._known: tuple[Any, tuple[int, ...]] = None, tuple(seen.flatten().nonzero().flatten().tolist())

    def _seen(self) -> Tensor:
        """Which taps count, (height, width)."""
        height, width = self.kernel_size
        place = torch.arange(height * width, device="cpu").reshape(height, width)
        seen: Tensor = place < height // 2 * width + width // 2 + (self.mask_type == "B")
        return seen

    def taps(self) -> tuple[int, ...]:
        """Places in the raster of the taps that count: where the mask is not zero for all outputs and inputs."""
        if not torch.compiler.is_compiling():  # the mask may have been written to
            state = id(self.mask), 0 if self.mask.is_inference() else self.mask._version
            if state != self._known[0] and not self.mask.is_meta:
                seen = (self.mask != 0).flatten(2).flatten(0, 1).any(0)
                self._known = state, tuple(seen.nonzero().flatten().tolist())
        return self._known[1]

    def _load_from_state_dict(self, *args: Any) -> None:
        super()._load_from_state_dict(*args)
        self.taps()

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * self.mask
        padding = self._plain_padding()
        if padding:
            return masked_conv2d(x, weight, self.bias, self.taps(), padding)
        out: Tensor = self._conv_forward(x, weight, self.bias)
        return out

    def at(self, x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """What ``forward`` gives at the positions (rows[i], columns[i]): (batch, out_channels, positions)."""
        padding = self._plain_padding()
        if padding:
            return conv_at(x, self.weight * self.mask, self.bias, self.taps(), padding, rows, columns)
        out: Tensor = self(x)[:, :, rows, columns]
        return out

    def _plain_padding(self) -> tuple[int, ...] | None:
        """The padding, where nothing but it and the size sets the convolution apart from any other."""
        ones = self.stride == self.dilation == (1, 1) and self.groups == 1 and self.padding_mode == "zeros"
        return self.padding if ones and not isinstance(self.padding, str) else None


class CheckerboardMaskedConv2d(MaskedConv2d):
    """A convolution that sees the positions of the other colour; its own too with ``mask_type="B"``.

    He, Zheng, Sun, Wang, Qin: Checkerboard Context Model for Efficient Learned Image Compression, CVPR 2021.

    >>> CheckerboardMaskedConv2d(1, 1, 3, padding=1).mask[0, 0].tolist()
    [[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]
    """

    def _seen(self) -> Tensor:
        height, width = self.kernel_size
        place = torch.arange(height, device="cpu")
        seen: Tensor = (place[:, None] - height // 2 + torch.arange(width, device="cpu") - width // 2) % 2 == 1
        seen[height // 2, width // 2] = self.mask_type == "B"
        return seen


def masked_conv(in_channels: int, out: int | None = None, kernel: int = 5, mask: str = "A") -> MaskedConv2d:
    """A masked convolution that keeps height and width, and the channels if ``out`` is None."""
    return MaskedConv2d(in_channels, out or in_channels, kernel, padding=kernel // 2, mask_type=mask)


def checkerboard_conv(in_channels: int, out: int | None = None, kernel: int = 5) -> CheckerboardMaskedConv2d:
    """A convolution over the other colour that keeps height and width, and the channels if ``out`` is None."""
    return CheckerboardMaskedConv2d(in_channels, out or in_channels, kernel, padding=kernel // 2)
