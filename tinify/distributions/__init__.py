"""Densities of latents: noise of width one makes any of them a model of what rounding leaves.

A distribution here has ``batch_shape``, ``log_prob``, ``log_cdf`` and ``log_survival_function``, the latter two
accurate far out in the tails. The noisy ones are what entropy models take: at integers their densities are
probabilities.
"""

from tinify.distributions.bases import Laplace, Logistic, Normal
from tinify.distributions.deep_factorized import DeepFactorized
from tinify.distributions.density import Density
from tinify.distributions.helpers import estimate_tails, lower_tail, quantization_offset, upper_tail
from tinify.distributions.mixtures import (
    MixtureSameFamily,
    NoisyLogisticMixture,
    NoisyMixtureSameFamily,
    NoisyNormalMixture,
)
from tinify.distributions.rounded import (
    MonotonicAdapter,
    NoisyRoundedDeepFactorized,
    NoisyRoundedNormal,
    NoisySoftRoundedDeepFactorized,
    NoisySoftRoundedNormal,
    RoundAdapter,
    SoftRoundAdapter,
)
from tinify.distributions.uniform_noise import (
    NoisyDeepFactorized,
    NoisyLaplace,
    NoisyLogistic,
    NoisyNormal,
    UniformNoiseAdapter,
)

__all__ = [
    "DeepFactorized",
    "Density",
    "Laplace",
    "Logistic",
    "MixtureSameFamily",
    "MonotonicAdapter",
    "NoisyDeepFactorized",
    "NoisyLaplace",
    "NoisyLogistic",
    "NoisyLogisticMixture",
    "NoisyMixtureSameFamily",
    "NoisyNormal",
    "NoisyNormalMixture",
    "NoisyRoundedDeepFactorized",
    "NoisyRoundedNormal",
    "NoisySoftRoundedDeepFactorized",
    "NoisySoftRoundedNormal",
    "Normal",
    "RoundAdapter",
    "SoftRoundAdapter",
    "UniformNoiseAdapter",
    "estimate_tails",
    "lower_tail",
    "quantization_offset",
    "upper_tail",
]
