"""Losses that training minimises."""

from tinify.losses.rate_distortion import LAMBDAS, RateDistortionLoss

__all__ = ["LAMBDAS", "RateDistortionLoss"]
