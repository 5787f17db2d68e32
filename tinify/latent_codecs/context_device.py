"""The network of a raster-scan context model on a GPU: the sums are those of the compiled one of a CPU."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from tinify.latent_codecs.context_layers import ContextLayers, Layer, device_of
from tinify.ops import has_kernel, ordered_linear


class DeviceContext:
    """Predicts parameters from side information and the decoded positions around, a few positions at a time."""

    def __init__(self, layers: ContextLayers) -> None:
        self.channels, self.kernel = layers.channels, layers.kernel
        # What is decoded goes through the entry when it is put, not again for every position that sees it.
        self.entry, context = layers.context.entry, replace(layers.context, entry=None)
        self.context, self.side, *self.dense = map(_Chain, (context, layers.side, *layers.dense))
        self.device = layers.context.weight.device

    @classmethod
    def of(cls, context_prediction: nn.Module, entropy_parameters: nn.Module) -> DeviceContext | None:
        """That of two modules; None where they are of another kind, or where their device has no kernel for it."""
        device = device_of(context_prediction, entropy_parameters)
        if device is None or not has_kernel("ordered_linear", device):
            return None
        layers = ContextLayers.of(context_prediction, entropy_parameters)
        return None if layers is None else layers.derive("device", cls)

    def start(self, side: Tensor) -> DeviceScan:
        """A scan of a latent of which nothing is decoded yet; ``side`` is (batch, channels, height, width), float32."""
        return DeviceScan(self, side)


class _Chain:
    """A layer as the kernel wants it."""

    def __init__(self, layer: Layer) -> None:
        self.weight = layer.weight.t().contiguous()
        self.bias = self.weight.new_zeros(self.weight.shape[1]) if layer.bias is None else layer.bias
        self.slope = layer.slope
        self.entry = layer.entry

    def __call__(self, x: Tensor, start: Tensor | None = None) -> Tensor:
        x = x if self.entry is None else self.entry.integers(x)
        return ordered_linear(x, self.weight, self.bias if start is None else start, self.slope)


class DeviceScan:
    """A latent being decoded."""

    def __init__(self, net: DeviceContext, side: Tensor) -> None:
        self._net = net
        batch, _, height, width = side.shape
        pad = net.kernel // 2
        self._shape = batch, height + pad, width + 2 * pad, net.channels
        self._y_hat = side.new_zeros(batch * (height + pad) * (width + 2 * pad), net.channels)
        # An exact network sees integers within limits; what is decoded may be anything.
        self._seen = self._y_hat if net.entry is None else torch.zeros_like(self._y_hat)
        self._side = net.side(side.permute(0, 2, 3, 1).flatten(0, 2))
        place = torch.arange(net.kernel * net.kernel // 2, device=side.device)
        self._taps = place // net.kernel * (width + 2 * pad) + place % net.kernel
        self._items = torch.arange(batch, device=side.device)[:, None]
        self._size = height, width

    @property
    def device(self) -> torch.device:
        return self._side.device

    @property
    def form(self) -> tuple[Any, ...]:
        """What two scans have to share for the same launches to do both."""
        return self._net, self._shape, self._size

    def take(self, other: DeviceScan) -> None:
        """Puts another scan of the same form, of which nothing is decoded, in the place of this one."""
        self._y_hat.zero_()
        self._seen.zero_()
        self._side.copy_(other._side)

    def params(self, rows: Tensor, columns: Tensor) -> Tensor:
        """The parameters of the positions (rows[i], columns[i]): (batch * positions, channels), item by item."""
        first, *others = self._net.dense
        around = (self._corners(rows, columns)[:, None] + self._taps).flatten()
        seen = self._seen.index_select(0, around).reshape(-1, len(self._taps) * self._net.channels)
        height, width = self._size
        side = self._side.index_select(0, (self._items * height * width + rows * width + columns).flatten())
        x = first(self._net.context(seen), side)
        for layer in others:
            x = layer(x)
        return x

    def put(self, rows: Tensor, columns: Tensor, values: Tensor) -> None:
        """Takes the decoded values of positions, (batch * positions, channels)."""
        pad, across = self._net.kernel // 2, self._shape[2]
        places = self._corners(rows, columns) + pad * across + pad
        self._y_hat.index_copy_(0, places, values.float())
        if self._net.entry is not None:
            self._seen.index_copy_(0, places, self._net.entry.integers(values))

    def result(self) -> Tensor:
        """The decoded latent, (batch, channels, height, width)."""
        pad, (height, width) = self._net.kernel // 2, self._size
        y_hat = self._y_hat.reshape(self._shape)[:, pad : pad + height, pad : pad + width]
        return y_hat.permute(0, 3, 1, 2).contiguous()

    def _corners(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Where the first neighbours of positions lie, item by item."""
        _, down, across, _ = self._shape
        return (self._items * down * across + rows * across + columns).flatten()
