"""Layers of point sets: (batch, channels, points), each point alone or a run of points together."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tinify.errors import InputError
from tinify.layers import Gain


def conv(in_channels: int, out: int, groups: int = 1) -> nn.Conv1d:
    """The same dense layer for every point, of each of ``groups`` parts of the channels by itself."""
    return nn.Conv1d(in_channels, out, 1, groups=groups)


def batch_norm(in_channels: int) -> nn.BatchNorm1d:
    """Batch normalisation of every channel."""
    return nn.BatchNorm1d(in_channels)


def group_norm(in_channels: int, groups: int = 1) -> nn.GroupNorm:
    """Normalisation of groups of channels, over all points of a set."""
    return nn.GroupNorm(groups, in_channels)


def gain(in_channels: int, factor: float = 1.0) -> Gain:
    """``factor`` times a learned gain of each channel."""
    return Gain((in_channels, 1), factor)


class MaxPool(nn.Module):
    """The largest of each channel in every run of ``points``; over all of them where there are so many.

    >>> MaxPool(1, 3)(torch.arange(6.0).reshape(1, 1, 6)).tolist()
    [[[2.0, 5.0]]]
    """

    def __init__(self, in_channels: int, points: int) -> None:
        super().__init__()
        self.points = points

    def forward(self, x: Tensor) -> Tensor:
        return runs(x, self.points).amax(3)

    def extra_repr(self) -> str:
        return str(self.points)


class Unfold(nn.Module):
    """Every point becomes ``points``, which share its channels out: all of one channel stand together, or, if
    ``interleaved``, all of one new point.

    >>> x = torch.arange(6.0).reshape(1, 6, 1)
    >>> Unfold(6, 3)(x).tolist(), Unfold(6, 3, interleaved=True)(x).tolist()
    ([[[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]], [[[0.0, 2.0, 4.0], [1.0, 3.0, 5.0]]])
    """

    def __init__(self, in_channels: int, points: int, interleaved: bool = False) -> None:
        super().__init__()
        self.points, self.interleaved = points, interleaved

    def forward(self, x: Tensor) -> Tensor:
        if self.interleaved:
            return torch.unflatten(x, 1, (self.points, -1)).permute(0, 2, 3, 1).flatten(2)
        return torch.unflatten(x, 1, (-1, self.points)).transpose(2, 3).flatten(2)

    def extra_repr(self) -> str:
        return f"{self.points}{', interleaved' if self.interleaved else ''}"


def runs(x: Tensor, points: int) -> Tensor:
    """(batch, channels, points) as runs: (batch, channels, runs, ``points``)."""
    if x.shape[2] % points:
        raise InputError(f"{x.shape[2]} points are no runs of {points}")
    return torch.unflatten(x, 2, (-1, points))
