"""Untrained weights that treat a picture as trained ones do: channels from empty to busy, and scales that fit them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

# Standard deviations of the channels of the latent and of the hyper-latent, and of the pixels of the reconstruction.
LATENT, HYPER, PIXELS = (0.05, 3.0), (0.05, 1.0), 0.2
# The standard deviation of a factorized prior as it is made: a logistic density of scale 10.
_PRIOR = 10 * math.pi / math.sqrt(3)


@torch.no_grad()
def fit(model: Any, x: Tensor) -> None:
    """Scales the weights of a model as it is made to one picture, (1, 3, height, width), and builds its tables."""
    y = _spread(model.g_a, x, LATENT)
    scales = _ramp(y.shape[1], LATENT)
    codec = model.latent_codec
    if hasattr(codec, "hyper"):
        z = _spread(codec.hyper.h_a, y.abs() if codec.hyper.magnitude else y, HYPER)
        _narrow(codec.hyper.entropy_bottleneck, _ramp(z.shape[1], HYPER))
        for part, head, own in _heads(codec.y, codec.hyper.h_s, scales):
            first = part.split.chunks.index("scales") * len(own)
            _weighted(head)[-1].bias[first : first + len(own)].copy_(own)
    else:
        _narrow(codec.entropy_bottleneck, scales)
    x_hat = model.g_s(y.round())
    last = _weighted(model.g_s)[-1]
    gain = PIXELS / x_hat.std()
    last.weight.mul_(gain)
    last.bias.sub_(x_hat.mean()).mul_(gain).add_(x.mean())
    model.update(force=True, update_quantiles=True)


def _ramp(channels: int, ends: tuple[float, float]) -> Tensor:
    return torch.logspace(math.log10(ends[0]), math.log10(ends[1]), channels)


def _weighted(transform: nn.Module) -> list[Any]:
    """The convolutions that no residual connection passes by, the last one last."""
    layers = [layer[0] if isinstance(layer, nn.Sequential) else layer for layer in transform.children()]
    return [layer for layer in layers if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]


def _spread(transform: nn.Sequential, x: Tensor, ends: tuple[float, float]) -> Tensor:
    """Scales the last convolution so that the channels of what comes out are centred and vary from least to most."""
    last = _weighted(transform)[-1]
    start = next(place for place, layer in enumerate(transform) if layer is last)
    x = transform[:start](x)
    for _ in range(8):  # one is enough where nothing follows the convolution; attention mixes channels
        y = transform[start:](x)
        gain = _ramp(y.shape[1], ends) / y.std((0, 2, 3))
        last.bias.sub_(y.mean((0, 2, 3))).mul_(gain)
        last.weight.mul_(gain[:, None, None, None])
    spread: Tensor = transform[start:](x)
    return spread


def _narrow(prior: Any, scales: Tensor) -> None:
    """Narrows the densities of a factorized prior, as it is made, to the standard deviations of its channels."""
    slope = nn.functional.softplus(prior.matrices[0]) * (_PRIOR / scales)[:, None, None]
    prior.matrices[0].copy_(torch.log(torch.expm1(slope)))


def _heads(y: Any, h_s: nn.Module, scales: Tensor) -> Iterator[tuple[Any, nn.Module, Tensor]]:
    """The codecs of the latent's Gaussians, each with the network that predicts its scales, and what to predict."""
    if hasattr(y, "groups"):
        for part, own in zip(y.latent_codec.values(), torch.split(scales, y.groups), strict=True):
            yield from _heads(part, h_s, own)
    elif hasattr(y, "context_prediction"):
        yield getattr(y, "y", y), y.entropy_parameters, scales
    else:
        yield y, h_s, scales
