"""The transform-coding autoencoder: analysis, a coded latent, synthesis."""

from __future__ import annotations

from torch import Tensor, nn

from tinify.coders import Coder
from tinify.errors import InputError
from tinify.latent_codecs import LatentCodec
from tinify.models.base import SimpleVAECompressionModel


class Autoencoder(SimpleVAECompressionModel):
    """``y = g_a(x)``, coded by a latent codec, ``x_hat = g_s(y_hat)``.

    ``x`` is (batch, channels, height, width) in [0, 1]; height and width are multiples of the architecture's stride.
    ``coder`` writes the strings of every entropy model; rANS by default.
    Ballé, Laparra, Simoncelli: End-to-end Optimized Image Compression, ICLR 2017.

    >>> import tinify, torch
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
