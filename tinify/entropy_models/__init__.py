"""Densities: likelihoods for training, frozen integer tables for coding."""

from tinify.entropy_models.base import EntropyModel
from tinify.entropy_models.bottleneck import EntropyBottleneck
from tinify.entropy_models.continuous import ContinuousEntropyModel
from tinify.entropy_models.continuous_batched import ContinuousBatchedEntropyModel
from tinify.entropy_models.continuous_indexed import ContinuousIndexedEntropyModel
from tinify.entropy_models.continuous_location_scale import LocationScaleIndexedEntropyModel
from tinify.entropy_models.gaussian import (
    SCALES_LEVELS,
    SCALES_MAX,
    SCALES_MIN,
    GaussianConditional,
    gaussian_conditional,
    get_scale_table,
)
from tinify.entropy_models.logistic import LogisticPrior
from tinify.entropy_models.mixture import GaussianMixtureConditional, gaussian_mixture
from tinify.names import names_of

__all__ = [
    "SCALES_LEVELS",
    "SCALES_MAX",
    "SCALES_MIN",
    "ContinuousBatchedEntropyModel",
    "ContinuousEntropyModel",
    "ContinuousIndexedEntropyModel",
    "EntropyBottleneck",
    "EntropyModel",
    "GaussianConditional",
    "GaussianMixtureConditional",
    "LocationScaleIndexedEntropyModel",
    "LogisticPrior",
    "gaussian_conditional",
    "gaussian_mixture",
    "get_scale_table",
]

__getattr__ = names_of(__name__)
