"""Which inputs an output of a convolution sees: taps of a window, gathered so that sums are plain matrix products."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

_BLOCK = 2**22
"""Elements of gathered taps at a time."""

Pad = tuple[int, int, int, int]
"""Zeros on top, at the bottom, left and right."""


@dataclass(frozen=True)
class Geometry:
    """Which inputs an output sees: ``taps`` are (row, column) in what comes in, padded by ``pad``.

    That is (top, bottom, left, right). ``each`` says that an output sees its own channel alone. ``shuffle`` moves
    channels into space in the end, which makes a convolution of a transposed one.
    """

    taps: tuple[tuple[int, int], ...] = ((0, 0),)
    stride: int = 1
    pad: Pad = (0, 0, 0, 0)
    shuffle: int = 1
    each: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the window."""
        return 1 + max(row for row, _ in self.taps), 1 + max(column for _, column in self.taps)

    def convolve(self, a: Tensor, pad: Pad, outputs: int, sums: Callable[[list[Tensor]], Tensor]) -> Tensor:
        """What ``sums`` makes of the taps of every window, for a band of rows at a time.

        ``a`` is (batch, height, width, channels), and so is what each tap sees of it, and ``outputs`` channels of sums;
        returns (batch, channels, height, width).
        """
        top, bottom, left, right = pad
        a = F.pad(a, (0, 0, left, right, top, bottom)) if any(pad) else a
        windows = zip(a.shape[1:3], self.size, strict=True)
        rows, columns = ((side - window) // self.stride + 1 for side, window in windows)
        gathered = len(a) * columns * a.shape[3] * (1 if self.each else len(self.taps))
        band = max(1, _BLOCK // max(1, gathered))
        if band >= rows:
            y = sums(self._seen(a, rows, columns))
        else:
            y = a.new_empty(len(a), rows, columns, outputs)
            for first in range(0, rows, band):
                count = min(band, rows - first)
                y[:, first : first + count] = sums(self._seen(a[:, first * self.stride :], count, columns))
        y = y.permute(0, 3, 1, 2)
        if self.shuffle > 1:
            y = F.pixel_shuffle(y, self.shuffle).contiguous(memory_format=torch.channels_last)
        return y

    def _seen(self, a: Tensor, rows: int, columns: int) -> list[Tensor]:
        down, across = self.stride * (rows - 1) + 1, self.stride * (columns - 1) + 1
        return [
            a[:, row : row + down : self.stride, column : column + across : self.stride] for row, column in self.taps
        ]


def plain(
    kernel: Sequence[int], padding: Sequence[int], stride: int = 1, dilation: Sequence[int] = (1, 1), each: bool = False
) -> Geometry:
    """That of a convolution of zeros around its input; its taps are in raster order."""
    taps = tuple((row * dilation[0], column * dilation[1]) for row in range(kernel[0]) for column in range(kernel[1]))
    return Geometry(taps, stride, (padding[0], padding[0], padding[1], padding[1]), 1, each)


def transposed(kernel: int, stride: int, padding: int) -> Geometry:
    """That of a transposed convolution to ``stride`` times the height and width: one output for each phase."""
    first = -((kernel - 1 - padding) // stride)
    last = (stride - 1 + padding) // stride
    taps = tuple((row, column) for row in range(last - first + 1) for column in range(last - first + 1))
    return Geometry(taps, 1, (-first, last, -first, last), stride)


def by_taps(weight: Tensor) -> Tensor:
    """A convolution's weights, (outputs, inputs, height, width), in raster order: (taps, inputs, outputs)."""
    return weight.permute(2, 3, 1, 0).flatten(0, 1)


def by_phases(weight: Tensor, geometry: Geometry, padding: int) -> Tensor:
    """A transposed convolution's weights, (inputs, outputs, kernel, kernel): (taps, inputs, outputs and phases)."""
    stride = geometry.shuffle
    inputs, outputs, kernel = weight.shape[:3]
    made = weight.new_zeros(len(geometry.taps), inputs, outputs, stride, stride)
    first = -geometry.pad[0]
    for tap, (down, across) in enumerate(geometry.taps):
        for i in range(stride):
            for j in range(stride):
                row, column = i + padding - stride * (down + first), j + padding - stride * (across + first)
                if 0 <= row < kernel and 0 <= column < kernel:
                    made[tap, :, :, i, j] = weight[:, :, row, column]
    return made.flatten(2)


def block_diagonal(weight: Tensor, groups: int) -> Tensor:
    """Weights of a convolution of groups as those of one group, zeros between; transposed or not."""
    rows, columns = weight.shape[:2]
    made = weight.new_zeros(rows, columns * groups, *weight.shape[2:])
    for group in range(groups):
        some = slice(group * rows // groups, (group + 1) * rows // groups)
        made[some, group * columns : (group + 1) * columns] = weight[some]
    return made
