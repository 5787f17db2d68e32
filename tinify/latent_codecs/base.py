"""A latent codec says its flow once; forward, compress and decompress are three readings of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tinify.latent_codecs.stream import Decode, Encode, Estimate, Quality, Shape, Stream


class LatentCodec(nn.Module):
    """A way to code a latent. A subclass writes :meth:`code` and nothing else.

    ``result`` is the key under which the readings return what ``code`` returns; ``part`` names the stream of a codec
    that stands alone.
    """

    decides: tuple[str, ...] = ()
    """Names of the parts that a decoder runs: what chooses coding tables, what that is fed by, what makes ``y_hat``."""
    result = "y_hat"
    part = "y"
    exact_estimate = True
    """Whether a forward in eval mode gives the very ``y_hat`` of ``compress``; serial context models come near it."""

    def code(self, y: Tensor | None, side: Tensor | None, stream: Stream) -> Tensor:
        """The flow: what the decoder will have of ``y``, given its side information. ``y`` is None when decoding."""
        raise NotImplementedError

    def forward(self, y: Tensor, side: Tensor | None = None, quality: Quality = None) -> dict[str, Any]:
        """Returns ``{"likelihoods": {name: Tensor}, "y_hat": Tensor}``.

        ``quality`` is for codecs of variable rate; others ignore it.
        """
        stream = Estimate(self.part, quality)
        return {self.result: self.code(y, side, stream), "likelihoods": stream.likelihoods}

    @torch.no_grad()
    def compress(self, y: Tensor, side: Tensor | None = None, quality: Quality = None) -> dict[str, Any]:
        """Returns ``{"strings": [[bytes, one for each batch item], ...], "shape": ..., "y_hat": Tensor}``."""
        stream = Encode(self.part, quality)
        return {self.result: self.code(y, side, stream), "strings": stream.strings, "shape": stream.shape}

    @torch.no_grad()
    def decompress(
        self, strings: Sequence[Sequence[bytes]], shape: Shape, side: Tensor | None = None, quality: Quality = None
    ) -> dict[str, Any]:
        """Returns ``{"y_hat": Tensor}``, equal to what ``compress`` returned."""
        stream = Decode(strings, shape, self.part, quality)
        decoded = self.code(None, side, stream)
        stream.finish()
        return {self.result: decoded}
