"""Latents of variable rate: another codec's, times a gain."""

from __future__ import annotations

from torch import Tensor

from tinify.latent_codecs.base import LatentCodec
from tinify.latent_codecs.stream import Stream
from tinify.layers.gain import GainUnit


class GainLatentCodec(LatentCodec):
    """Codes ``y`` times the gain of the stream's quality by another latent codec; ``inverse`` takes the gain back.

    Cui et al., CVPR 2021, figure 2.
    """

    decides = ("inverse",)

    def __init__(self, latent_codec: LatentCodec, gain: GainUnit, inverse: GainUnit) -> None:
        super().__init__()
        self.latent_codec = latent_codec
        self.gain = gain
        self.inverse = inverse

    def code(self, y: Tensor | None, side: Tensor | None, stream: Stream) -> Tensor:
        y = None if y is None else self.gain(y, stream.quality)
        coded = self.latent_codec.code(y, side, stream)
        y_hat: Tensor = self.inverse(coded, stream.quality)
        return y_hat
