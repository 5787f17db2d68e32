"""A raster-scan context model of variable rate."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tinify.entropy_models import GaussianConditional
from tinify.errors import InputError
from tinify.exact import ExactLayer, Straight
from tinify.latent_codecs import RasterScanLatentCodec
from tinify.latent_codecs.context_plain import Convolution, Shifted
from tinify.latent_codecs.stream import Estimate, Stream
from tinify.layers import MaskedConv2d

from .latent_codecs import gain_of
from .offsets import ReconstructionOffset


class VariableRasterScan(RasterScanLatentCodec):
    """A raster scan that codes the latent times the gain, puts values back by offsets, and knows the gain.

    What ``scale_to_context`` makes of the gain is added to every context. A forward in training takes the latent with
    noise for a context, all positions at once; out of training it goes position by position, as coding does, and gives
    the very ``y_hat`` of ``compress``. CompressAI's forward goes position by position in training, too.
    Kamisli, Racapé, Choi: Variable-Rate Learned Image Compression with Multi-Objective Optimization and
    Quantization-Reconstruction Offsets, DCC 2024.
    """

    decides = (*RasterScanLatentCodec.decides, "scale_to_context", "offset")
    exact_estimate = True

    def __init__(
        self,
        gaussian_conditional: GaussianConditional,
        entropy_parameters: nn.Module,
        context_prediction: MaskedConv2d,
        chunks: Sequence[str] = ("scales", "means"),
        scale_link: str = "identity",
    ) -> None:
        super().__init__(gaussian_conditional, entropy_parameters, context_prediction, chunks, scale_link)
        self.split.choosing = False  # the gain comes between
        self.offset = ReconstructionOffset()
        self.scale_to_context = nn.Linear(1, context_prediction.out_channels)
        nn.init.zeros_(self.scale_to_context.weight)
        nn.init.zeros_(self.scale_to_context.bias)

    def code(self, y: Tensor | None, side: Tensor | None, stream: Stream) -> Tensor:
        if side is None:
            raise InputError("a raster scan needs the side information that its parameters are predicted from")
        model, gain = self.gaussian_conditional, gain_of(stream)
        if not isinstance(stream, Estimate):
            serial = stream.serial(model, None if y is None else y * gain, self.size(side))
            return self._scan(side, serial, gain)
        assert y is not None
        guess = self.training or isinstance(self.context_prediction, Straight)
        if guess:
            proxy = stream.proxy(y * gain, self.training)
            assert proxy is not None
            seen = proxy / gain
        else:
            seen = self._scan(side, _Rounding(y.float() * gain), gain)
        context = self.context_prediction(seen) + self.scale_to_context(gain.reshape(-1, 1))[..., None, None]
        scales, means = self._params(self.entropy_parameters(torch.cat([side, context], 1)))
        scales = scales * gain
        q = stream.code(model, (y.float() - means) * gain, scales, quantizer="ste")
        return self.offset(q, scales, gain) / gain + means if guess else seen

    def _scan(self, side: Tensor, serial: Any, gain: Tensor) -> Tensor:
        if len(gain) > 1 and not bool((gain == gain[0]).all()):
            raise InputError(
                f"{len(gain)} qualities for one batch: a raster scan codes a batch at one; code each by itself"
            )
        gain = gain[0].reshape(1)

        def step(serial: Any, rows: Tensor, columns: Tensor, predicted: Tensor) -> Tensor:
            scales, means = self._params(predicted)
            scales = scales * gain
            coded = serial.code(rows, columns, scales, means * gain)
            q = torch.round(coded - means * gain)
            y_hat: Tensor = self.offset(q, scales, gain) / gain + means
            return y_hat

        return self.scan(side, serial, self._shifted(gain), step)

    def _params(self, predicted: Tensor) -> tuple[Tensor, Tensor]:
        scales, *means = self.split(predicted, self.gaussian_conditional)
        return scales, means[0] if means else torch.zeros_like(scales)

    def _shifted(self, gain: Tensor) -> Convolution:
        """The context's convolution, with what the gain adds to it."""
        conv, add = self.context_prediction, self.scale_to_context
        if isinstance(conv, ExactLayer):
            return Shifted(conv, add(gain[None])[0])
        # Sums and products apart, so that no processor fuses them.
        shift = (add.weight[:, 0] * gain + add.bias).detach()
        shifted = copy.copy(conv)
        shifted._parameters = dict(conv._parameters)
        shifted._parameters["bias"] = nn.Parameter(shift if conv.bias is None else conv.bias.detach() + shift)
        return shifted


class _Rounding:
    """What a scan codes by that keeps no string: it rounds."""

    def __init__(self, y: Tensor) -> None:
        self._y = y

    def code(self, rows: Tensor, columns: Tensor, scales: Tensor, means: Tensor) -> Tensor:
        y = self._y[:, :, rows, columns].transpose(1, 2).flatten(0, 1)
        return torch.round(y - means) + means

    def finish(self) -> None:
        """Nothing is to be ended."""
