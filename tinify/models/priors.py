"""The old name of :mod:`tinify.models.google` and :mod:`tinify.models.waseda`, for scripts that still use it."""

from __future__ import annotations

import warnings

from tinify.models.base import SCALES_LEVELS, SCALES_MAX, SCALES_MIN, CompressionModel, get_scale_table
from tinify.models.google import (
    FactorizedPrior,
    FactorizedPriorReLU,
    JointAutoregressiveHierarchicalPriors,
    MeanScaleHyperprior,
    ScaleHyperprior,
)
from tinify.models.waseda import Cheng2020Anchor, Cheng2020Attention

__all__ = [
    "SCALES_LEVELS",
    "SCALES_MAX",
    "SCALES_MIN",
    "Cheng2020Anchor",
    "Cheng2020Attention",
    "CompressionModel",
    "FactorizedPrior",
    "FactorizedPriorReLU",
    "JointAutoregressiveHierarchicalPriors",
    "MeanScaleHyperprior",
    "ScaleHyperprior",
    "get_scale_table",
]

warnings.warn("tinify.models.priors is deprecated: import from tinify.models", DeprecationWarning, stacklevel=2)
