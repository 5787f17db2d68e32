"""The network of a raster-scan context model as plain PyTorch: any modules, on any device."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tinify.exact import ExactLayer
from tinify.layers import MaskedConv2d


class Shifted(nn.Module):
    """An exact context's convolution, and a shift of each channel after it: its sums might have no room for one."""

    def __init__(self, convolution: ExactLayer, shift: Tensor) -> None:
        super().__init__()
        self.convolution = convolution
        self.shift = shift[:, None, None]
        self.in_channels, self.kernel_size = convolution.in_channels, convolution.kernel_size
        self.geometry = convolution.geometry

    def valid(self, x: Tensor) -> Tensor:
        """What it makes of windows as they are."""
        return self.convolution.valid(x) + self.shift


Convolution = MaskedConv2d | ExactLayer | Shifted


class PlainContext:
    """Predicts parameters from side information and the decoded positions around, a few positions at a time.

    Positions are asked for on the CPU. ``one_by_one`` computes each position by itself, as the field's programs do:
    whoever reads their strings has to repeat their arithmetic.
    """

    device = torch.device("cpu")

    def __init__(
        self, context_prediction: Convolution, entropy_parameters: nn.Module, one_by_one: bool = False
    ) -> None:
        self.context_prediction = context_prediction
        self.entropy_parameters = entropy_parameters
        self.one_by_one = one_by_one

    def start(self, side: Tensor) -> PlainScan:
        """A scan of a latent of which nothing is decoded; ``side`` is (batch, channels, height, width)."""
        return PlainScan(self, side)


class PlainScan:
    """A latent being decoded."""

    def __init__(self, context: PlainContext, side: Tensor) -> None:
        self._context = context
        self._side = side
        convolution = context.context_prediction
        self._window, self._context_of = _windows(convolution)
        self._reach = tuple(length // 2 for length in convolution.kernel_size)
        down, right = self._reach
        padded = F.pad(side.new_zeros(len(side), convolution.in_channels, *side.shape[2:]), (right, right, down, down))
        self._y_hat = padded

    def params(self, rows: Tensor, columns: Tensor) -> Tensor:
        """The parameters of the positions (rows[i], columns[i]): (batch * positions, channels), item by item."""
        pairs = list(zip(rows.tolist(), columns.tolist(), strict=True))
        height, width = self._window
        crops = torch.stack([self._y_hat[:, :, r : r + height, c : c + width] for r, c in pairs], 1).flatten(0, 1)
        side = self._side[:, :, rows, columns].transpose(1, 2).flatten(0, 1)[..., None, None]
        if not self._context.one_by_one:
            return self._predict(crops, side)
        return torch.cat([self._predict(*one) for one in zip(crops[:, None], side[:, None], strict=True)])

    def put(self, rows: Tensor, columns: Tensor, values: Tensor) -> None:
        """Takes the decoded values of positions, (batch * positions, channels)."""
        down, right = self._reach
        self._y_hat[:, :, rows + down, columns + right] = torch.unflatten(values, 0, (-1, len(rows))).transpose(1, 2)

    def result(self) -> Tensor:
        """The decoded latent, (batch, channels, height, width)."""
        down, right = self._reach
        height, width = self._side.shape[2:]
        return self._y_hat[:, :, down : down + height, right : right + width].contiguous()

    def _predict(self, crops: Tensor, side: Tensor) -> Tensor:
        predicted: Tensor = self._context.entropy_parameters(torch.cat([side, self._context_of(crops)], 1))
        return predicted[..., 0, 0]


def _windows(convolution: Convolution) -> tuple[tuple[int, ...], Callable[[Tensor], Tensor]]:
    """Height and width of what a convolution sees of a position, and what it makes of such windows."""
    if isinstance(convolution, ExactLayer | Shifted):
        return convolution.geometry.size, convolution.valid
    weight, bias = convolution.weight * convolution.mask, convolution.bias
    return convolution.kernel_size, lambda crops: F.conv2d(crops, weight, bias)
