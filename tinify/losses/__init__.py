"""Losses that training minimises."""

from tinify.losses.rate_distortion import LAMBDAS, RateDistortionLoss, bits_per_pixel
from tinify.names import names_of

__all__ = ["LAMBDAS", "RateDistortionLoss", "bits_per_pixel"]

__getattr__ = names_of(__name__)
