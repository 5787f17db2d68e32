"""Declarations of the losses."""

from __future__ import annotations

from typing import Annotated, Literal

from tinify.plugin import Range, component


@component("loss", "rate_distortion", target="tinify.losses:RateDistortionLoss")
class RateDistortion:
    """Bits per pixel plus lambda times distortion (Ballé et al. 2018)."""

    lmbda: Annotated[float, Range(0), "weight of distortion against bits"] = 0.01
    metric: Literal["mse", "ms-ssim"] = "mse"


LOSSES = (RateDistortion,)
