"""Pointwise activations without parameters."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def relu(in_channels: int) -> nn.ReLU:
    """A ReLU; the channel count is taken for the builder's sake and ignored."""
    return nn.ReLU()


def leaky_relu(in_channels: int, slope: float = 0.01) -> nn.LeakyReLU:
    """A LeakyReLU with the given slope below zero; the channel count is ignored."""
    return nn.LeakyReLU(slope)


class Abs(nn.Module):
    """The absolute value; the channel count is ignored."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return torch.abs(x)
