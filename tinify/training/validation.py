"""Whole held-out pictures through a model: estimated rate and 8-bit distortion."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
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

    ``loss`` is the run's own, of the 8-bit output. Over a range of lambdas, each picture is coded at five. Of clips,
    the means are over all of their frames.
    """
    assert model.architecture is not None
    device = next(model.parameters()).device
    criterion = Criterion(config, device)
    rates, distances, losses = [], [], []
    places = [*torch.linspace(0, 1, 5, device=device)[:, None]] if isinstance(config.lmbda, tuple) else [None]
    for pixels, place in itertools.product(_clips(pictures, config.frames), places):
        x = torch.tensor(np.stack(pixels), device=device).permute(0, 3, 1, 2).float() / 255
        height, width = x.shape[2:]
        pad, unpad = compute_padding(height, width, min_div=model.architecture.stride)
        padded = F.pad(x, pad, mode="replicate").contiguous(memory_format=torch.channels_last)
        asked: dict[str, Any] = {} if place is None else {"quality": model.quality_at(place)}
        asked |= {"frames": len(x)} if config.frames > 1 else {}
        output = model.eval()(padded, **asked)
        x_hat = torch.round(F.pad(output["x_hat"], unpad).clamp(0, 1) * 255) / 255
        distances.append(psnr(x_hat, x))
        rates.append(float(bits_per_pixel(output, x)))
        losses.append(float(criterion({**output, "x_hat": x_hat}, x, place)))
    means = {"bpp": rates, "psnr": distances, "loss": losses}
    return {name: math.fsum(values) / len(values) for name, values in means.items()}


def _clips(pictures: Sequence[Pixels], frames: int) -> Iterator[list[Pixels]]:
    """Pictures that follow one another and are of one size, ``frames`` at most together."""
    clip: list[Pixels] = []
    for pixels in pictures:
        if clip and (len(clip) == frames or pixels.shape != clip[0].shape):
            yield clip
            clip = []
        clip.append(pixels)
    if clip:
        yield clip
