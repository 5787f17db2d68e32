"""The conditional Gaussian as a latent codec."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from tinify.entropy_models import GaussianConditional
from tinify.errors import InputError
from tinify.latent_codecs.base import LatentCodec
from tinify.latent_codecs.parameters import Chunks
from tinify.latent_codecs.stream import Stream


class GaussianConditionalLatentCodec(LatentCodec):
    """Codes ``y`` by Gaussians whose parameters are the side information, split into ``chunks`` along the channels.

    ``entropy_parameters`` is a network that predicts them from the side information.

    With a Gaussian mixture for ``gaussian_conditional``, ``chunks`` has ``"weights"`` too, and each chunk is as wide as
    all components together. ``scale_link`` is that of :class:`~tinify.latent_codecs.parameters.Chunks`.
    Minnen et al., NeurIPS 2018, section 2.
    """

    decides: tuple[str, ...] = ("entropy_parameters", "split")

    def __init__(
        self,
        scale_table: Sequence[float] | None = None,
        gaussian_conditional: GaussianConditional | None = None,
        entropy_parameters: nn.Module | None = None,
        quantizer: str = "noise",
        chunks: Sequence[str] = ("scales", "means"),
        scale_link: str = "identity",
    ) -> None:
        super().__init__()
        self.gaussian_conditional = gaussian_conditional or GaussianConditional(scale_table)
        self.entropy_parameters = entropy_parameters
        self.quantizer = quantizer
        self.split = Chunks(chunks, scale_link)
        self.chunks = self.split.chunks

    def code(self, y: Tensor | None, side: Tensor | None, stream: Stream) -> Tensor:
        if side is None:
            raise InputError("a conditional latent codec needs the side information that predicts its Gaussians")
        predicted = side if self.entropy_parameters is None else self.entropy_parameters(side)
        params = self.split(predicted, self.gaussian_conditional)
        return stream.code(self.gaussian_conditional, y, *params, quantizer=self.quantizer)
