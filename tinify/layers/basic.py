"""Small layers that move or scale elements, and functions as layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from tinify.errors import InputError


class Lambda(nn.Module):
    """A function as a layer.

    >>> Lambda(torch.neg)(torch.ones(1)).item()
    -1.0
    """

    def __init__(self, func: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.func = func

    def forward(self, x: Tensor) -> Tensor:
        return self.func(x)

    def extra_repr(self) -> str:
        return getattr(self.func, "__name__", repr(self.func))


class NamedLayer(nn.Module):
    """The identity, with a name that a model can be searched for."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        return x

    def extra_repr(self) -> str:
        return self.name


class Reshape(nn.Module):
    """Another shape for each batch item.

    >>> Reshape((3, 2))(torch.zeros(5, 6)).shape
    torch.Size([5, 3, 2])
    """

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(len(x), *self.shape)

    def extra_repr(self) -> str:
        return str(self.shape)


class Transpose(nn.Module):
    """Two axes exchanged; the result is contiguous."""

    def __init__(self, dim0: int, dim1: int) -> None:
        super().__init__()
        self.dim0, self.dim1 = dim0, dim1

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(self.dim0, self.dim1).contiguous()

    def extra_repr(self) -> str:
        return f"{self.dim0}, {self.dim1}"


class Interleave(nn.Module):
    """Channels shuffled so that each of ``groups`` equal groups gets a share of every group.

    Zhang et al., ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile Devices, CVPR 2018.

    >>> Interleave(2)(torch.arange(6).reshape(1, 6, 1)).flatten().tolist()
    [0, 3, 1, 4, 2, 5]
    """

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] % self.groups:
            raise InputError(f"{x.shape[1]} channels do not make {self.groups} equal groups")
        return torch.unflatten(x, 1, (self.groups, -1)).transpose(1, 2).flatten(1, 2)

    def extra_repr(self) -> str:
        return str(self.groups)


class Gain(nn.Module):
    """``factor * gain * x`` with a learned ``gain`` of ones at first, of a shape that broadcasts against ``x``."""

    def __init__(self, shape: Sequence[int] | None = None, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = factor
        self.gain = nn.Parameter(torch.ones(tuple(shape or ())))

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * self.gain * x


def interleave(in_channels: int, groups: int) -> Interleave:
    """An :class:`Interleave`; the channel count is ignored."""
    return Interleave(groups)


def gain(in_channels: int, factor: float = 1.0) -> Gain:
    """A :class:`Gain` for each channel of (batch, channels, height, width)."""
    return Gain((in_channels, 1, 1), factor)
