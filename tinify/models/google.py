"""Factorized priors, hyperpriors and the joint autoregressive prior, by the names that the field knows."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import nn

from tinify.entropy_models import EntropyBottleneck, GaussianConditional
from tinify.models.faces import Face

_SIZES = {"N": ("g_a.0.weight", 0), "M": ("g_a.6.weight", 0)}
_HYPER = {
    "entropy_bottleneck": "hyper.entropy_bottleneck",
    "h_a": "hyper.h_a",
    "h_s": "hyper.h_s",
    "gaussian_conditional": "y.gaussian_conditional",
}


class FactorizedPrior(Face):
    """A latent of ``M`` channels under a factorized prior; transforms of ``N`` channels.

    Ballé, Minnen, Singh, Hwang, Johnston: Variational Image Compression with a Scale Hyperprior, ICLR 2018.

    >>> model = FactorizedPrior(8, 12)
    >>> model.downsampling_factor
    16
    """

    SPEC = "bmshj2018-factorized"
    PARTS: ClassVar = {"entropy_bottleneck": "entropy_bottleneck"}
    SIZES: ClassVar = _SIZES

    N: int
    M: int
    entropy_bottleneck: EntropyBottleneck

    def __init__(self, N: int, M: int, **kwargs: Any) -> None:
        super().__init__(N=N, M=M, **kwargs)


class FactorizedPriorReLU(FactorizedPrior):
    """:class:`FactorizedPrior` with ReLU in the place of GDN."""

    SPEC = "bmshj2018-factorized-relu"


class ScaleHyperprior(Face):
    """Gaussians of mean zero, whose scales a hyper-latent of ``N`` channels predicts.

    Ballé, Minnen, Singh, Hwang, Johnston: Variational Image Compression with a Scale Hyperprior, ICLR 2018.

    >>> model = ScaleHyperprior(8, 12)
    >>> sorted(name for name, _ in model.named_children())
    ['entropy_bottleneck', 'g_a', 'g_s', 'gaussian_conditional', 'h_a', 'h_s']
    """

    SPEC = "bmshj2018-hyperprior"
    PARTS: ClassVar = _HYPER
    SIZES: ClassVar = _SIZES

    N: int
    M: int
    entropy_bottleneck: EntropyBottleneck
    gaussian_conditional: GaussianConditional
    h_a: nn.Module
    h_s: nn.Module

    def __init__(self, N: int, M: int, **kwargs: Any) -> None:
        super().__init__(N=N, M=M, **kwargs)


class MeanScaleHyperprior(ScaleHyperprior):
    """Gaussians whose scales and means a hyper-latent predicts.

    Minnen, Ballé, Toderici: Joint Autoregressive and Hierarchical Priors for Learned Image Compression, NeurIPS 2018.
    """

    SPEC = "mbt2018-mean"


class JointAutoregressiveHierarchicalPriors(MeanScaleHyperprior):
    """Gaussians predicted by a hyper-latent and by what was decoded above and to the left.

    Minnen, Ballé, Toderici: Joint Autoregressive and Hierarchical Priors for Learned Image Compression, NeurIPS 2018.
    """

    SPEC = "mbt2018"
    PARTS: ClassVar = {
        **_HYPER,
        "entropy_parameters": "y.entropy_parameters",
        "context_prediction": "y.context_prediction",
    }

    entropy_parameters: nn.Module
    context_prediction: nn.Module

    def __init__(self, N: int = 192, M: int = 192, **kwargs: Any) -> None:
        super().__init__(N=N, M=M, **kwargs)
