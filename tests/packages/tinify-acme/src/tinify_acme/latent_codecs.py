"""Latent codecs."""

from __future__ import annotations

from torch import Tensor, cat, nn

from tinify.entropy_models import EntropyModel
from tinify.errors import InputError
from tinify.latent_codecs import LatentCodec, Stream


class TwoHalves(LatentCodec):
    """The first half of the channels under the side information, the second under the first as well."""

    def __init__(self, entropy: EntropyModel, context: nn.Module, quantizer: str = "ste") -> None:
        super().__init__()
        self.entropy, self.context, self.quantizer = entropy, context, quantizer

    def code(self, y: Tensor | None, side: Tensor | None, stream: Stream) -> Tensor:
        if side is None:
            raise InputError("acme/two_halves needs side information: scales and means")
        scales, means = (part.chunk(2, 1) for part in side.chunk(2, 1))
        given = (None, None) if y is None else y.chunk(2, 1)
        first = stream.at("first").code(self.entropy, given[0], scales[0], means[0], quantizer=self.quantizer)
        more_scale, more_mean = self.context(first).chunk(2, 1)
        params = scales[1] + more_scale, means[1] + more_mean
        second = stream.at("second").code(self.entropy, given[1], *params, quantizer=self.quantizer)
        return cat([first, second], 1)
