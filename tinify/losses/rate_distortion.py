"""Rate plus lambda times distortion, the field's loss."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from tinify.errors import InputError
from tinify.metrics import ms_ssim

# The eight operating points of the field, q1 to q8; those of MSE also stand in the specs' presets.
_POINTS = {
    "mse": (0.0018, 0.0035, 0.0067, 0.0130, 0.0250, 0.0483, 0.0932, 0.1800),
    "ms-ssim": (2.40, 4.58, 8.73, 16.64, 31.73, 60.50, 115.37, 220.00),
}
LAMBDAS = {metric: {f"q{q}": lmbda for q, lmbda in enumerate(row, 1)} for metric, row in _POINTS.items()}


class UnknownMetricError(InputError, NotImplementedError):
    """A metric that the loss does not know."""


def bits_per_pixel(output: dict[str, Any], target: Tensor) -> Tensor:
    """The rate that a model's likelihoods promise, in bits per pixel of ``target`` (batch, channels, height, width)."""
    pixels = target.shape[0] * target.shape[2] * target.shape[3]
    nats = [torch.log(likelihood).sum() for likelihood in output["likelihoods"].values()]
    return torch.stack(nats).sum() / (-math.log(2) * pixels)


def bits_of_each(output: dict[str, Any], target: Tensor) -> Tensor:
    """As :func:`bits_per_pixel`, for each picture: (batch,)."""
    pixels = target.shape[2] * target.shape[3]
    nats = [torch.log(likelihood).flatten(1).sum(1) for likelihood in output["likelihoods"].values()]
    return torch.stack(nats).sum(0) / (-math.log(2) * pixels)


class RateDistortionLoss(nn.Module):
    """``bpp + lmbda * 255**2 * MSE``, or ``bpp + lmbda * (1 - MS-SSIM)``.

    ``forward(output, target, lmbda, weight)`` takes a model's output and the picture (batch, 3, height, width) in
    [0, 1], for models of variable rate also a lambda for each picture and a weight of its loss, and returns a dict of
    scalars, or just the one that ``return_type`` names: ``loss``, which is to be minimised, ``bpp_loss`` in
    bits per pixel of the target, and ``mse_loss`` or ``ms_ssim_loss``. The last is MS-SSIM itself, in spite of the name
    that the field gave it. Raises :class:`~tinify.errors.InputError` for another ``return_type`` or metric (that one is
    a NotImplementedError too). Ballé et al., ICLR 2018, section 2.
    """

    def __init__(self, lmbda: float = 0.01, metric: str = "mse", return_type: str = "all") -> None:
        super().__init__()
        if metric not in LAMBDAS:
            raise UnknownMetricError(f"unknown metric {metric!r}: expected 'mse' or 'ms-ssim'")
        known = ("all", "loss", "bpp_loss", f"{metric.replace('-', '_')}_loss")
        if return_type not in known:
            raise InputError(f"unknown return_type {return_type!r}: expected {' or '.join(map(repr, known))}")
        self.lmbda = lmbda
        self.metric = metric
        self.return_type = return_type

    def forward(
        self, output: dict[str, Any], target: Tensor, lmbda: Tensor | None = None, weight: Tensor | None = None
    ) -> Any:
        x_hat = output["x_hat"].to(target.dtype)
        alone = lmbda is None  # else everything is (batch,) until the end
        rate = bits_per_pixel(output, target) if alone else bits_of_each(output, target)
        if self.metric == "mse":
            distance = (x_hat - target).square()
            distance = distance.mean() if alone else distance.flatten(1).mean(1)
            distortion = 255**2 * distance
        else:
            pairs = [(x_hat, target)] if alone else [(a[None], b[None]) for a, b in zip(x_hat, target, strict=True)]
            distance = torch.stack([ms_ssim(a, b) for a, b in pairs])
            distortion = 1 - distance
        each = rate + (self.lmbda if lmbda is None else lmbda) * distortion
        losses = {
            "bpp_loss": rate.mean(),
            f"{self.metric.replace('-', '_')}_loss": distance.mean(),
            "loss": (each if weight is None else weight * each).mean(),
        }
        return losses if self.return_type == "all" else losses[self.return_type]
