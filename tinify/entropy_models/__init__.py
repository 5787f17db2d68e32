"""Densities: likelihoods for training, frozen integer tables for coding."""

from tinify.entropy_models.base import EntropyModel
from tinify.entropy_models.bottleneck import EntropyBottleneck
from tinify.entropy_models.gaussian import (
    SCALES_LEVELS,
    SCALES_MAX,
    SCALES_MIN,
    GaussianConditional,
    gaussian_conditional,
    get_scale_table,
)

__all__ = [
    "SCALES_LEVELS",
    "SCALES_MAX",
    "SCALES_MIN",
    "EntropyBottleneck",
    "EntropyModel",
    "GaussianConditional",
    "gaussian_conditional",
    "get_scale_table",
]
