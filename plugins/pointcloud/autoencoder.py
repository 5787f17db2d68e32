"""PointNet: a cloud as one vector."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from tinify.coders import Coder
from tinify.latent_codecs import LatentCodec
from tinify.latent_codecs.stream import Stream

from .flow import PointSetModel


class PointAutoencoder(PointSetModel):
    """``y = g_a(x)``, coded by a latent codec, ``x_hat = g_s(y_hat)``, of (batch, channels, points).

    Ulhaq, Bajić: Learned Point Cloud Compression for Classification, MMSP 2023.
    """

    def __init__(self, g_a: nn.Module, latent_codec: LatentCodec, g_s: nn.Module, coder: Coder | None = None) -> None:
        super().__init__()
        self.g_a, self.latent_codec, self.g_s = g_a, latent_codec, g_s
        self.use_coder(coder)

    def code(self, x: Tensor | None, stream: Stream) -> dict[str, Any]:
        y = None if x is None else self.g_a(x)
        y_hat = self.latent_codec.code(y, None, stream.at("y"))
        return {"x_hat": self.g_s(y_hat), "y": y, "y_hat": y_hat}

    def latents(self) -> list[str]:
        return ["y"]
