"""The hyperprior of scale-space flow: scales and means from two networks."""

from __future__ import annotations

from torch import Tensor, nn

from tinify.entropy_models import EntropyBottleneck, GaussianConditional
from tinify.latent_codecs import LatentCodec
from tinify.latent_codecs.stream import Stream


class ScaleMeanHyperprior(LatentCodec):
    """Codes a hyper-latent, then the latent by Gaussians whose scales and means two networks predict from it.

    Agustsson et al.: Scale-Space Flow for End-to-End Optimized Video Compression, CVPR 2020, section 3.4.
    """

    decides = ("hyper_decoder_mean", "hyper_decoder_scale")
    part = ""

    def __init__(
        self,
        hyper_encoder: nn.Module,
        hyper_decoder_mean: nn.Module,
        hyper_decoder_scale: nn.Module,
        entropy_bottleneck: EntropyBottleneck,
        gaussian_conditional: GaussianConditional,
    ) -> None:
        super().__init__()
        self.entropy_bottleneck = entropy_bottleneck
        self.hyper_encoder = hyper_encoder
        self.hyper_decoder_mean = hyper_decoder_mean
        self.hyper_decoder_scale = hyper_decoder_scale
        self.gaussian_conditional = gaussian_conditional

    def code(self, y: Tensor | None, side: Tensor | None, stream: Stream) -> Tensor:
        z = None if y is None else self.hyper_encoder(y)
        z_hat = stream.at("z").code(self.entropy_bottleneck, z)
        scales, means = self.hyper_decoder_scale(z_hat).float(), self.hyper_decoder_mean(z_hat).float()
        return stream.at("y").code(self.gaussian_conditional, y, scales, means, quantizer="ste")
