"""The models of variable rate by the names that the field knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from tinify.errors import InputError
from tinify.latent_codecs import (
    GaussianConditionalLatentCodec,
    HyperLatentCodec,
    HyperpriorLatentCodec,
    LatentCodec,
    RasterScanLatentCodec,
)
from tinify.latent_codecs.stream import Quality, Shape
from tinify.layers import MaskedConv2d
from tinify.models import JointAutoregressiveHierarchicalPriors, MeanScaleHyperprior, ScaleHyperprior
from tinify.ops import LowerBound

from .bottleneck import EntropyBottleneckVbr
from .gain import LevelGain
from .latent_codecs import StepNet
from .offsets import ReconstructionOffset
from .quality import InputScale

_STEP = {"gayn2zqstep": "hyper.step", "lower_bound_zqstep": "hyper.lower_bound_step"}


class ScaleHyperpriorVbr(ScaleHyperprior):
    """A :class:`~tinify.models.ScaleHyperprior` of variable rate.

    ``forward(x, stage, s, inputscale)`` and ``compress`` alike, ``decompress(strings, shape, stage, s, inputscale)``:
    ``s`` from 0 to 7 is one of the rates that :attr:`Gain` has, ``inputscale``, where it is not 0, a gain itself, and
    ``stage=1`` the model without all that varies the rate. ``quality``, from 1 to 8 in any fraction, takes the place of
    these in tinify's own calls. Tables serve every rate; ``update(force=True, scale=gain)``, the field's call,
    builds them for one alone, exactly. With ``vr_entbttlnck`` the step of the hyper-latent follows the rate.
    Kamisli, Racapé, Choi: Variable-Rate Learned Image Compression with Multi-Objective Optimization and
    Quantization-Reconstruction Offsets, DCC 2024.

    >>> model = ScaleHyperpriorVbr(8, 12, vr_entbttlnck=True).eval()
    >>> x = torch.rand(1, 3, 64, 64)
    >>> packed = model.compress(x, s=3)
    >>> model.decompress(packed["strings"], packed["shape"], s=3)["x_hat"].shape
    torch.Size([1, 3, 64, 64])
    """

    SPEC = "bmshj2018-hyperprior-vbr"
    PARTS: ClassVar = {**ScaleHyperprior.PARTS, "gain": "gain", "QuantABCD": "y.offset"}
    MAGNITUDE: ClassVar = True
    CHUNKS: ClassVar[tuple[str, ...]] = ("scales",)

    entropy_bottleneck: EntropyBottleneckVbr
    gain: LevelGain
    QuantABCD: ReconstructionOffset
    gayn2zqstep: StepNet
    lower_bound_zqstep: LowerBound
    vr_entbttlnck: bool

    def __init__(self, N: int, M: int, vr_entbttlnck: bool = False, **kwargs: Any) -> None:
        if vr_entbttlnck:
            self.PARTS = {**self.PARTS, **_STEP}  # type: ignore[misc]
        super().__init__(N, M, vr_entbttlnck=vr_entbttlnck, **kwargs)
        self._register_state_dict_hook(_flatten_gain)  # type: ignore[no-untyped-call]

    @property
    def Gain(self) -> nn.Parameter:  # noqa: N802 - the field's name, and key
        """The gain of each rate."""
        return self.gain.levels

    @property
    def levels(self) -> int:
        """How many rates :attr:`Gain` has."""
        return len(self.Gain)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        if prefix + "Gain" in state_dict:
            state_dict[prefix + "gain.levels"] = state_dict.pop(prefix + "Gain")
        super()._load_from_state_dict(state_dict, prefix, *args)

    @classmethod
    def parameters_of(cls, state_dict: Mapping[str, Tensor]) -> dict[str, Any]:
        if not any(key.endswith(("Gain", "gain.levels")) for key in state_dict):
            raise KeyError("Gain")
        variable = any(key.endswith(("gayn2zqstep.0.weight", "hyper.step.0.weight")) for key in state_dict)
        return {**super().parameters_of(state_dict), "vr_entbttlnck": variable}

    @classmethod
    def from_state_dict(cls, state_dict: Mapping[str, Tensor], vr_entbttlnck: bool | None = None) -> Self:
        """The model of a state dict, of the size that its tensors show; they show ``vr_entbttlnck`` as well.

        Raises :class:`~tinify.errors.StateDictError` for that of another architecture, and for NaN or infinite weights;
        :class:`~tinify.errors.InputError` where ``vr_entbttlnck`` is given and is not what they show.
        """
        model = super().from_state_dict(state_dict)
        if vr_entbttlnck is not None and vr_entbttlnck != model.vr_entbttlnck:
            raise InputError(f"vr_entbttlnck={vr_entbttlnck}: these weights are of one with {model.vr_entbttlnck}")
        return model

    def update(
        self,
        scale_table: Sequence[float] | Tensor | None = None,
        force: bool = False,
        update_quantiles: bool = False,
        *,
        scale: Tensor | float | None = None,
    ) -> bool:
        """Builds the tables; those of the hyper-latent for the gain ``scale`` alone, where that is given."""
        built = False
        if scale is not None and self.vr_entbttlnck:
            gain = torch.as_tensor(scale, dtype=torch.float32).reshape(1, 1)
            with torch.no_grad():
                step = self.lower_bound_zqstep(self.gayn2zqstep(1 / gain))
            built = self.entropy_bottleneck.update_variable(force, qs=step)
            force = False
        return super().update(scale_table, force, update_quantiles) | built

    def forward(  # type: ignore[override]
        self, x: Tensor, stage: int = 2, s: int = 1, inputscale: Tensor | float = 0, quality: Quality = None
    ) -> dict[str, Any]:
        if quality is None and self._is_plain(stage):
            self._check(x)
            latent = self._plain()(self.g_a(x))
            return {"x_hat": self.g_s(latent["y_hat"]), "likelihoods": latent["likelihoods"]}
        return super().forward(x, self._chosen(s, inputscale, quality))

    def compress(  # type: ignore[override]
        self, x: Tensor, stage: int = 2, s: int = 1, inputscale: Tensor | float = 0, quality: Quality = None
    ) -> dict[str, Any]:
        if quality is None and self._is_plain(stage):
            self._check(x)
            return self._plain().compress(self._transform(self.g_a, x))
        return super().compress(x, self._chosen(s, inputscale, quality))

    def decompress(  # type: ignore[override]
        self,
        strings: Sequence[Sequence[bytes]],
        shape: Shape,
        stage: int = 2,
        s: int = 1,
        inputscale: Tensor | float = 0,
        quality: Quality = None,
    ) -> dict[str, Any]:
        if quality is None and self._is_plain(stage):
            return self.reconstruct(self._plain().decompress(strings, shape)["y_hat"])
        return super().decompress(strings, shape, self._chosen(s, inputscale, quality))

    def _is_plain(self, stage: int) -> bool:
        if stage not in (1, 2):
            raise InputError(f"stage {stage!r}: expected 1, the model of one rate, or 2, of variable rate")
        return stage == 1

    def _chosen(self, s: int, inputscale: Tensor | float, quality: Quality) -> Quality:
        if quality is not None:
            return quality
        gain = float(torch.as_tensor(inputscale).detach())
        if gain:
            return InputScale(gain)
        if isinstance(s, bool) or s not in range(self.levels):
            raise InputError(f"s is {s!r}: expected a rate from 0 to {self.levels - 1}")
        return float(s + 1)

    def _plain(self) -> LatentCodec:
        """The latent codec without what varies the rate, made of the same parts."""
        hyper = HyperLatentCodec(self.entropy_bottleneck, self.h_a, self.h_s, magnitude=self.MAGNITUDE)
        return HyperpriorLatentCodec(hyper=hyper, y=self._plain_y()).train(self.training)

    def _plain_y(self) -> LatentCodec:
        return GaussianConditionalLatentCodec(gaussian_conditional=self.gaussian_conditional, chunks=self.CHUNKS)


def _flatten_gain(model: nn.Module, state_dict: dict[str, Any], prefix: str, metadata: Any) -> None:
    state_dict[prefix + "Gain"] = state_dict.pop(prefix + "gain.levels")


class MeanScaleHyperpriorVbr(ScaleHyperpriorVbr, MeanScaleHyperprior):
    """A :class:`~tinify.models.MeanScaleHyperprior` of variable rate; the calls are :class:`ScaleHyperpriorVbr`'s."""

    SPEC = "mbt2018-mean-vbr"
    MAGNITUDE: ClassVar = False
    CHUNKS: ClassVar[tuple[str, ...]] = ("scales", "means")

    def __init__(self, N: int = 192, M: int = 320, vr_entbttlnck: bool = False, **kwargs: Any) -> None:
        super().__init__(N, M, vr_entbttlnck, **kwargs)


class JointAutoregressiveHierarchicalPriorsVbr(MeanScaleHyperpriorVbr, JointAutoregressiveHierarchicalPriors):
    """A :class:`~tinify.models.JointAutoregressiveHierarchicalPriors` of variable rate, called likewise.

    In the field its hyper-latent has one step; here ``vr_entbttlnck`` may be given, as to the others.
    """

    SPEC = "mbt2018-vbr"
    PARTS: ClassVar = {
        **JointAutoregressiveHierarchicalPriors.PARTS,
        "gain": "gain",
        "QuantABCD": "y.offset",
        "scale_to_context": "y.scale_to_context",
    }

    scale_to_context: nn.Linear
    context_prediction: MaskedConv2d

    def _plain_y(self) -> LatentCodec:
        return RasterScanLatentCodec(self.gaussian_conditional, self.entropy_parameters, self.context_prediction)
