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
from tinify.entropy_models.mixture import GaussianMixtureConditional, gaussian_mixture

__all__ = [
    "SCALES_LEVELS",
    "SCALES_MAX",
    "SCALES_MIN",
    "EntropyBottleneck",
    "EntropyModel",
    "GaussianConditional",
    "GaussianMixtureConditional",
    "gaussian_conditional",
    "gaussian_mixture",
    "get_scale_table",
]
