"""The factorized prior as a latent codec."""

from __future__ import annotations

from torch import Tensor

from tinify.entropy_models import EntropyBottleneck
from tinify.latent_codecs.base import LatentCodec
from tinify.latent_codecs.stream import Stream


class EntropyBottleneckLatentCodec(LatentCodec):
    """Codes ``y`` by a density of its own for each channel, with no side information.

    Ballé et al., Variational Image Compression with a Scale Hyperprior, ICLR 2018.
    """

    def __init__(self, entropy_bottleneck: EntropyBottleneck | None = None, **options: float) -> None:
        super().__init__()
        self.entropy_bottleneck = entropy_bottleneck or EntropyBottleneck(**options)  # type: ignore[arg-type]

    def code(self, y: Tensor | None, side: Tensor | None, stream: Stream) -> Tensor:
        return stream.code(self.entropy_bottleneck, y)
