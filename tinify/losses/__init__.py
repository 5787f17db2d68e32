"""Losses that training minimises."""

from tinify.losses.rate_distortion import LAMBDAS, LAMBDAS_BY_PRESET, RateDistortionLoss

__all__ = ["LAMBDAS", "LAMBDAS_BY_PRESET", "RateDistortionLoss"]
