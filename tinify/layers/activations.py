"""Pointwise activations without parameters."""

from __future__ import annotations

from typing import Any

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


class QReLU(torch.autograd.Function):
    """A ReLU clamped to the range of unsigned integers of ``bit_depth`` bits: ``QReLU.apply(x, bit_depth, beta)``.

    Outside the range the gradient fades, the steeper the larger ``beta`` is, instead of ending at once.
    Ballé, Johnston, Minnen: Integer Networks for Data Compression with Latent-Variable Models, ICLR 2019, section 3.

    >>> QReLU.apply(torch.tensor([-1.0, 2.5, 300.0]), 8, 100).tolist()
    [0.0, 2.5, 255.0]
    """

    ALPHA = 0.9943258522851727

    @staticmethod
    def forward(ctx: Any, x: Tensor, bit_depth: int, beta: float) -> Tensor:
        ctx.highest, ctx.beta = 2**bit_depth - 1, beta
        ctx.save_for_backward(x)
        return x.clamp(0, ctx.highest)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (grad,), (x,) = grads, ctx.saved_tensors
        distance = torch.abs(2 * x / ctx.highest - 1)
        fading = torch.exp(-((QReLU.ALPHA * distance) ** ctx.beta))
        return torch.where((x < 0) | (x > ctx.highest), grad * fading, grad), None, None
