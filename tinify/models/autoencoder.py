"""The transform-coding autoencoder: analysis, a coded latent, synthesis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tinify.coders import Coder
from tinify.errors import InputError
from tinify.latent_codecs import LatentCodec
from tinify.latent_codecs.stream import Shape
from tinify.models.base import CompressionModel


class Autoencoder(CompressionModel):
    """``y = g_a(x)``, coded by a latent codec, ``x_hat = g_s(y_hat)``.

    ``x`` is (batch, channels, height, width) in [0, 1]; height and width are multiples of the architecture's stride.
    ``coder`` writes the strings of every entropy model; rANS by default.
    Ballé, Laparra, Simoncelli: End-to-end Optimized Image Compression, ICLR 2017.

    >>> import tinify
    >>> model = tinify.create_model("bmshj2018-factorized", N=8, M=8).eval()
    >>> packed = model.compress(torch.rand(2, 3, 32, 64))
    >>> len(packed["strings"]), len(packed["strings"][0]), packed["shape"]
    (1, 2, torch.Size([2, 4]))
    >>> model.decompress(packed["strings"], packed["shape"])["x_hat"].shape
    torch.Size([2, 3, 32, 64])
    """

    def __init__(
        self,
        g_a: nn.Module,
        latent_codec: LatentCodec,
        g_s: nn.Module,
        channels: int = 3,
        coder: Coder | None = None,
    ) -> None:
        super().__init__()
        self.g_a = g_a
        self.latent_codec = latent_codec
        self.g_s = g_s
        self.channels = channels
        if coder is not None:
            self.use_coder(coder)

    def forward(self, x: Tensor) -> dict[str, Any]:
        self._check(x)
        latent = self.latent_codec(self.g_a(x))
        return {"x_hat": self.g_s(latent["y_hat"]), "likelihoods": latent["likelihoods"]}

    @torch.no_grad()
    def compress(self, x: Tensor) -> dict[str, Any]:
        """Returns ``{"strings": ..., "shape": ..., "y_hat": Tensor}``; the decoder will have that ``y_hat``."""
        self._check(x)
        packed: dict[str, Any] = self.latent_codec.compress(self.g_a(x))
        return packed

    @torch.no_grad()
    def decompress(self, strings: Sequence[Sequence[bytes]], shape: Shape) -> dict[str, Any]:
        return self.reconstruct(self.latent_codec.decompress(strings, shape)["y_hat"])

    @torch.no_grad()
    def reconstruct(self, y_hat: Tensor) -> dict[str, Any]:
        """The decoder's picture of a coded latent: ``{"x_hat": Tensor}``, clamped to [0, 1]."""
        return {"x_hat": self.g_s(y_hat).clamp(0, 1)}

    def _check(self, x: Tensor) -> None:
        if x.ndim != 4 or x.shape[1] != self.channels or not x.is_floating_point():
            raise InputError(
                f"x is {x.dtype} of size {tuple(x.shape)}: expected floats in [0, 1] "
                f"of size (batch, {self.channels}, height, width)"
            )
        stride = self.architecture.stride if self.architecture else 1
        if x.shape[2] % stride or x.shape[3] % stride or not x.numel():
            raise InputError(
                f"x is {x.shape[2]} high and {x.shape[3]} wide: this model takes multiples of {stride}; "
                "pad it (tinify.ops.compute_padding), or use tinify.compress, which takes any size"
            )
