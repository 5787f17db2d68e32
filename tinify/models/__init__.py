"""Compression models, built from specs, assembled by hand, or by the names that the field knows."""

from tinify.models.autoencoder import Autoencoder
from tinify.models.base import (
    SCALES_LEVELS,
    SCALES_MAX,
    SCALES_MIN,
    CompressionModel,
    SimpleVAECompressionModel,
    get_scale_table,
)
from tinify.models.build import build_model, build_part, create_model
from tinify.models.google import (
    FactorizedPrior,
    FactorizedPriorReLU,
    JointAutoregressiveHierarchicalPriors,
    MeanScaleHyperprior,
    ScaleHyperprior,
)
from tinify.models.sensetime import Cheng2020AnchorCheckerboard, Elic2022Chandelier, Elic2022Official
from tinify.models.waseda import Cheng2020Anchor, Cheng2020Attention
from tinify.names import names_of

__all__ = [
    "SCALES_LEVELS",
    "SCALES_MAX",
    "SCALES_MIN",
    "Autoencoder",
    "Cheng2020Anchor",
    "Cheng2020AnchorCheckerboard",
    "Cheng2020Attention",
    "CompressionModel",
    "Elic2022Chandelier",
    "Elic2022Official",
    "FactorizedPrior",
    "FactorizedPriorReLU",
    "JointAutoregressiveHierarchicalPriors",
    "MeanScaleHyperprior",
    "ScaleHyperprior",
    "SimpleVAECompressionModel",
    "build_model",
    "build_part",
    "create_model",
    "get_scale_table",
]

__getattr__ = names_of(__name__)
