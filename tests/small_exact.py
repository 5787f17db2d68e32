"""Context models of random weights in their exact form, calibrated on noise."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from tinify.entropy_models import GaussianConditional
from tinify.exact import exchange, fitted, watched
from tinify.latent_codecs import LatentCodec, RasterScanLatentCodec
from tinify.layers import MaskedConv2d


def make_exact(model: nn.Module, run: Callable[[], Any]) -> None:
    """Exchanges what decides about coding tables, by what ``run`` lets come into it."""
    codecs = [(name, part) for name, part in model.named_modules() if isinstance(part, LatentCodec)]
    parts = [(name, part, getattr(codec, part)) for name, codec in codecs for part in codec.decides]
    paths = [f"{name}.{part}".strip(".") for name, part, module in parts if isinstance(module, nn.Module)]
    with watched(model, paths) as seen, torch.no_grad():
        run()
    exchange(model, paths, lambda change: fitted(change, seen))


def exact_raster(
    channels: int = 8, side: int = 4, kernel: int = 3, between: tuple[int, ...] = (12,), slope: float = 0.01
) -> RasterScanLatentCodec:
    """A raster scan whose network has layers of those widths ``between`` its first and its last."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise((side + 2 * channels, *between, 2 * channels)):
        layers += [nn.Conv2d(inputs, outputs, 1), nn.LeakyReLU(slope) if slope else nn.ReLU()]
    seen = MaskedConv2d(channels, 2 * channels, kernel, padding=kernel // 2)
    codec = RasterScanLatentCodec(GaussianConditional(None), nn.Sequential(*layers[:-1]), seen).eval()
    codec.gaussian_conditional.update()
    make_exact(codec, lambda: codec(3 * torch.randn(2, channels, 9, 9), torch.randn(2, side, 9, 9)))
    return codec
