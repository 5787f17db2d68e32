"""Latent codecs of variable rate by one quantisation step for the whole latent."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from tinify.entropy_models import GaussianConditional
from tinify.errors import InputError
from tinify.exact import FORMS, Reproduced
from tinify.latent_codecs import GaussianConditionalLatentCodec, HyperLatentCodec, HyperpriorLatentCodec, LatentCodec
from tinify.latent_codecs.stream import Stream
from tinify.ops import LowerBound

from .bottleneck import EntropyBottleneckVbr
from .gain import LevelGain
from .offsets import ReconstructionOffset


class VariableHyperprior(HyperpriorLatentCodec):
    """A hyperprior whose parts are told the gain of the stream's quality: ``stream.quality`` is (1,) or (batch,) there.

    Kamisli, Racapé, Choi: Variable-Rate Learned Image Compression with Multi-Objective Optimization and
    Quantization-Reconstruction Offsets, DCC 2024.
    """

    decides = ("gain",)

    def __init__(
        self,
        latent_codec: Mapping[str, LatentCodec] | None = None,
        *,
        levels: int = 8,
        lowest: float = 0.1,
        **codecs: LatentCodec,
    ) -> None:
        super().__init__(latent_codec, **codecs)
        self.gain = LevelGain(levels, lowest)

    def code(self, y: Tensor | None, side: Tensor | None, stream: Stream) -> Tensor:
        return super().code(y, side, stream.asked(self.gain(stream.quality)))


class StepNet(nn.Sequential):
    """The quantisation step of the hyper-latent, by the inverse of the gain: at first one, whatever that is."""

    def __init__(self, hidden: int = 10) -> None:
        super().__init__(
            nn.Linear(1, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1), nn.Softplus()
        )
        weight, bias = self[4].parameters()
        nn.init.zeros_(weight)
        nn.init.constant_(bias, math.log(math.e - 1))


FORMS[StepNet] = Reproduced


class VariableHyper(HyperLatentCodec):
    """A hyper-latent quantised in steps that a small network finds for the gain, :class:`StepNet`.

    With ``variable=False`` the step is one, whatever the rate. Kamisli et al., DCC 2024, section 3.3.
    """

    decides = (*HyperLatentCodec.decides, "step")
    entropy_bottleneck: EntropyBottleneckVbr

    def __init__(
        self,
        entropy_bottleneck: EntropyBottleneckVbr,
        h_a: nn.Module,
        h_s: nn.Module,
        quantizer: str = "ste",
        magnitude: bool = False,
        variable: bool = True,
    ) -> None:
        super().__init__(entropy_bottleneck, h_a, h_s, quantizer, magnitude)
        if not isinstance(entropy_bottleneck, EntropyBottleneckVbr):
            raise InputError(
                f"a hyper-latent of any step takes vbr/entropy_bottleneck; got {type(entropy_bottleneck).__name__}"
            )
        self.step = StepNet() if variable else None
        self.lower_bound_step = LowerBound(0.5) if variable else None

    def code(self, y: Tensor | None, side: Tensor | None, stream: Stream) -> Tensor:
        view = self.entropy_bottleneck.at(self._step(stream))
        if y is None:
            z = None
        else:
            z = self.h_a(torch.abs(y) if self.magnitude else y)
            z = z / view.step_like(z)
        coded = stream.code(view, z, quantizer=self.quantizer)
        params: Tensor = self.h_s(coded * view.step_like(coded))
        return params

    def _step(self, stream: Stream) -> Tensor | float:
        if self.step is None or self.lower_bound_step is None:
            return 1.0
        gain = gain_of(stream).reshape(-1, 1)
        found: Tensor = self.lower_bound_step(self.step(torch.ones_like(gain) / gain))
        return found


class VariableGaussian(GaussianConditionalLatentCodec):
    """Codes the latent times the gain by Gaussians, and puts values back by :class:`ReconstructionOffset`.

    Kamisli et al., DCC 2024, sections 3.1 and 3.2.
    """

    decides = (*GaussianConditionalLatentCodec.decides, "offset")

    def __init__(
        self,
        gaussian_conditional: GaussianConditional | None = None,
        entropy_parameters: nn.Module | None = None,
        quantizer: str = "ste",
        chunks: Sequence[str] = ("scales", "means"),
        scale_link: str = "identity",
    ) -> None:
        super().__init__(None, gaussian_conditional, entropy_parameters, quantizer, chunks, scale_link)
        self.split.choosing = False  # the gain comes between
        self.offset = ReconstructionOffset()

    def code(self, y: Tensor | None, side: Tensor | None, stream: Stream) -> Tensor:
        if side is None:
            raise InputError("a conditional latent codec needs the side information that predicts its Gaussians")
        predicted = side if self.entropy_parameters is None else self.entropy_parameters(side)
        scales, *means = self.split(predicted, self.gaussian_conditional)
        mean, gain = means[0] if means else 0.0, gain_of(stream)
        scales = scales * gain
        y = None if y is None else (y.float() - mean) * gain
        q = stream.code(self.gaussian_conditional, y, scales, quantizer=self.quantizer)
        y_hat: Tensor = self.offset(q, scales, gain) / gain + mean
        return y_hat


def gain_of(stream: Stream) -> Tensor:
    """The gain that a part is told, (1 or batch, 1, 1, 1); of a part that stands alone, 1."""
    if stream.quality is None:
        return torch.ones(1, 1, 1, 1)
    if not isinstance(stream.quality, Tensor):
        raise InputError(
            f"this latent codec was asked for quality {stream.quality!r}, where it takes the gain that a hyperprior of "
            "variable rate makes of a quality: put it into a latent codec of type vbr/hyperprior"
        )
    return stream.quality.reshape(-1, 1, 1, 1)
