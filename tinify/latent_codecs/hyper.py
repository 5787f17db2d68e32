"""The hyper-latent: side information that is coded first."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tinify.entropy_models import EntropyBottleneck
from tinify.latent_codecs.base import LatentCodec
from tinify.latent_codecs.stream import Stream
from tinify.layers.gain import GainUnit


class HyperLatentCodec(LatentCodec):
    """Codes ``z = h_a(y)`` by a factorized prior and returns ``h_s(z_hat)``, the parameters of ``y``'s density.

    ``magnitude`` feeds ``|y|`` to ``h_a``, as models that predict scales alone do. ``z`` times ``gain`` is
    coded and times ``inverse`` used, in codecs of variable rate. Ballé et al., ICLR 2018, figure 4.
    """

    decides: tuple[str, ...] = ("h_s", "inverse")
    result = "params"
    part = "z"

    def __init__(
        self,
        entropy_bottleneck: EntropyBottleneck,
        h_a: nn.Module,
        h_s: nn.Module,
        quantizer: str = "noise",
        magnitude: bool = False,
        gain: GainUnit | None = None,
        inverse: GainUnit | None = None,
    ) -> None:
        super().__init__()
        self.entropy_bottleneck = entropy_bottleneck
        self.h_a = h_a
        self.h_s = h_s
        self.quantizer = quantizer
        self.magnitude = magnitude
        self.gain = gain
        self.inverse = inverse

    def code(self, y: Tensor | None, side: Tensor | None, stream: Stream) -> Tensor:
        z = None if y is None else self.h_a(torch.abs(y) if self.magnitude else y)
        if self.gain is not None and z is not None:
            z = self.gain(z, stream.quality)
        z_hat = stream.code(self.entropy_bottleneck, z, quantizer=self.quantizer)
        params: Tensor = self.h_s(z_hat if self.inverse is None else self.inverse(z_hat, stream.quality))
        return params
