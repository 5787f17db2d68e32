"""Losses that training minimises."""

from tinify.losses.rate_distortion import LAMBDAS, RateDistortionLoss, bits_per_pixel

__all__ = ["LAMBDAS", "RateDistortionLoss", "bits_per_pixel"]
