"""Residual blocks around a raster-scan context, by the names that the field knows."""

from __future__ import annotations

from typing import Any, ClassVar

from tinify.models.faces import Face
from tinify.models.google import JointAutoregressiveHierarchicalPriors


class Cheng2020Anchor(JointAutoregressiveHierarchicalPriors):
    """Residual blocks of ``N`` channels and sub-pixel convolutions, without attention; one Gaussian a latent.

    Cheng, Sun, Takeuchi, Katto: Learned Image Compression with Discretized Gaussian Mixture Likelihoods and Attention
    Modules, CVPR 2020.

    >>> model = Cheng2020Anchor(8)
    >>> model.N, model.M, model.downsampling_factor
    (8, 8, 64)
    """

    SPEC = "cheng2020-anchor"
    SIZES: ClassVar = {"N": ("g_a.0.conv1.weight", 0)}

    def __init__(self, N: int = 192, **kwargs: Any) -> None:
        Face.__init__(self, N=N, **kwargs)
        self.M = N


class Cheng2020Attention(Cheng2020Anchor):
    """:class:`Cheng2020Anchor` with four attention blocks."""

    SPEC = "cheng2020-attn"
