"""Whole held-out pictures through a model: estimated rate and 8-bit distortion."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch.nn import functional as F

from tinify.losses import bits_per_pixel
from tinify.metrics import psnr
from tinify.models import CompressionModel
from tinify.ops import compute_padding
from tinify.training.config import TrainingConfig
from tinify.training.criterion import Criterion
from tinify.training.data import Pixels


@torch.no_grad()
def validate(model: CompressionModel, pictures: Sequence[Pixels], config: TrainingConfig) -> dict[str, float]:
    """Means over the pictures: ``bpp`` (estimated), ``psnr`` of the 8-bit output in decibels, and ``loss``.

    ``loss`` is the run's own, of the 8-bit output. Over a range of lambdas, each picture is coded at five.
    """
    assert model.architecture is not None
    device = next(model.parameters()).device
    criterion = Criterion(config, device)
    rates, distances, losses = [], [], []
    places = [*torch.linspace(0, 1, 5, device=device)[:, None]] if isinstance(config.lmbda, tuple) else [None]
    for pixels, place in itertools.product(pictures, places):
        x = torch.tensor(pixels, device=device).permute(2, 0, 1)[None].float() / 255
        height, width = x.shape[2:]
        pad, unpad = compute_padding(height, width, min_div=model.architecture.stride)
        padded = F.pad(x, pad, mode="replicate").contiguous(memory_format=torch.channels_last)
        output = model.eval()(padded, **({} if place is None else {"quality": model.quality_at(place)}))
        x_hat = torch.round(F.pad(output["x_hat"], unpad).clamp(0, 1) * 255) / 255
        distances.append(psnr(x_hat, x))
        rates.append(float(bits_per_pixel(output, x)))
        losses.append(float(criterion({**output, "x_hat": x_hat}, x, place)))
    means = {"bpp": rates, "psnr": distances, "loss": losses}
    return {name: math.fsum(values) / len(values) for name, values in means.items()}
