"""The conditional Gaussian as a latent codec."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from tinify.entropy_models import GaussianConditional
from tinify.errors import InputError
from tinify.latent_codecs.base import LatentCodec
from tinify.latent_codecs.stream import Stream

_LINKS = {"identity": lambda scales: scales, "softplus": F.softplus}


class GaussianConditionalLatentCodec(LatentCodec):
    """Codes ``y`` by Gaussians whose parameters are the side information, split into ``chunks`` along the channels.

    ``scale_link`` maps the predicted scales to positive ones: ``"identity"`` leaves that to the entropy model's lower
    bound, as the field does; ``"softplus"`` starts training faster. Minnen et al., NeurIPS 2018, section 2.
    """

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
        if "scales" not in chunks or set(chunks) - {"scales", "means"} or len(set(chunks)) != len(chunks):
            raise InputError(f"chunks must be 'scales', or 'scales' and 'means' in the order predicted; got {chunks!r}")
        if scale_link not in _LINKS:
            raise InputError(f"unknown scale_link {scale_link!r}: expected one of {', '.join(_LINKS)}")
        self.gaussian_conditional = gaussian_conditional or GaussianConditional(scale_table)
        self.entropy_parameters = entropy_parameters or nn.Identity()
        self.quantizer = quantizer
        self.chunks = tuple(chunks)
        self.scale_link = scale_link

    def code(self, y: Tensor | None, side: Tensor | None, stream: Stream) -> Tensor:
        if side is None:
            raise InputError("a conditional latent codec needs the side information that predicts its Gaussians")
        parts = dict(zip(self.chunks, self.entropy_parameters(side).float().chunk(len(self.chunks), 1), strict=True))
        scales = _LINKS[self.scale_link](parts["scales"])
        means = [parts["means"]] if "means" in parts else []
        return stream.code(self.gaussian_conditional, y, scales, *means, quantizer=self.quantizer)
