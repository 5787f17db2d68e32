"""The hyperprior: a hyper-latent first, then the latent given what it predicts."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from tinify.errors import InputError
from tinify.latent_codecs.base import LatentCodec
from tinify.latent_codecs.stream import Stream


class HyperpriorLatentCodec(LatentCodec):
    """Codes ``y`` with a latent codec of that name, under side information from the one named ``hyper``.

    ``HyperpriorLatentCodec(latent_codec={"y": ..., "hyper": ...})``, or the two by keyword. Ballé et al., ICLR 2018,
    figure 4.
    """

    part = ""
    hyper: LatentCodec
    y: LatentCodec

    def __init__(self, latent_codec: Mapping[str, LatentCodec] | None = None, **codecs: LatentCodec) -> None:
        super().__init__()
        codecs = {**(latent_codec or {}), **codecs}
        if set(codecs) != {"y", "hyper"}:
            raise InputError(f"a hyperprior is made of the latent codecs 'y' and 'hyper'; got {sorted(codecs)}")
        self.y = codecs["y"]
        self.hyper = codecs["hyper"]

    def code(self, y: Tensor | None, side: Tensor | None, stream: Stream) -> Tensor:
        side = self.hyper.code(y, side, stream.at("z", last=True))  # the field lists z's strings after y's
        return self.y.code(y, side, stream.at("y"))
