"""Models of variable rate by one quantisation step: a single set of weights for a whole range of rates."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

from tinify.plugin import Cost, Name, Range, ShapeError, Sig, Slot, component, hookimpl

from ..vocabulary import entropy_models, latent_codecs  # noqa: TID252

Slots = Callable[..., Sig]

_OFFSET_WEIGHTS = 2 * 12 + 12 * 12 + 12
_STEP_WEIGHTS = 10 + 10 * 10 + 10


def _slots(declaration: type, **changes: Slot) -> dict[str, Slot]:
    """Those of a declared component, some of them changed."""
    return {**declaration.__component__.slots, **changes}  # type: ignore[attr-defined]


def _offset(y: Sig) -> Cost:
    """The network that finds where in its bin a value is put back, for every element."""
    return Cost(_OFFSET_WEIGHTS + 12 + 12 + 1, Fraction(_OFFSET_WEIGHTS * y.channels) / y.stride**2)


@component("entropy_model", "vbr/entropy_bottleneck", target="tinify_plugins.vbr.bottleneck:entropy_bottleneck")
class VbrEntropyBottleneck(entropy_models.EntropyBottleneck):
    """Factorized prior whose quantisation step can be chosen (Kamisli et al. 2024)."""

    variable: Annotated[bool, "whether there are tables for all steps, or for 1 alone"] = True


@component(
    "latent_codec",
    "vbr/hyperprior",
    target="tinify_plugins.vbr.latent_codecs:VariableHyperprior",
    slots=_slots(latent_codecs.Hyperprior),
)
class VbrHyperprior(latent_codecs.Hyperprior):
    """A hyperprior of variable rate, whose parts are told the gain of a quality (Kamisli et al. 2024)."""

    levels: Annotated[int, Range(2, 1024), "qualities, from 1 on; those between are interpolated"] = 8
    lowest: Annotated[float, Range(1e-6, 0.999), "the gain of the lowest quality, at first; of the highest it is 1"] = (
        0.1
    )

    def cost(self, y: Sig, side: Sig | None = None) -> Cost:
        return Cost(self.levels)


@component(
    "latent_codec",
    "vbr/hyper",
    target="tinify_plugins.vbr.latent_codecs:VariableHyper",
    slots={
        "entropy_bottleneck": Slot("entropy_model", default="vbr/entropy_bottleneck"),
        "h_a": Slot("transform"),
        "h_s": Slot("transform"),
    },
)
class VbrHyper:
    """Codes the hyper-latent in steps found for the gain, and gives the parameters of y's density."""

    quantizer: Literal["noise", "ste"] = "ste"
    magnitude: bool = False
    variable: Annotated[bool, "whether the step follows the gain, or is 1"] = True

    def shape(self, slots: Slots, y: Sig, side: Sig | None = None) -> Sig:
        return slots("h_s", slots("entropy_bottleneck", slots("h_a", y)))

    def cost(self, y: Sig, side: Sig | None = None) -> Cost:
        return Cost(_STEP_WEIGHTS + 10 + 10 + 1) if self.variable else Cost()


@component(
    "latent_codec",
    "vbr/gaussian_conditional",
    target="tinify_plugins.vbr.latent_codecs:VariableGaussian",
    slots=_slots(latent_codecs.GaussianConditionalCodec),
)
class VbrGaussian(latent_codecs.GaussianConditionalCodec):
    """Codes a latent times the gain by Gaussians, and puts values back by learned offsets (Kamisli et al. 2024)."""

    quantizer: Literal["noise", "ste"] = "ste"

    def cost(self, y: Sig, side: Sig | None = None) -> Cost:
        return _offset(y)


@component(
    "latent_codec",
    "vbr/raster_scan",
    target="tinify_plugins.vbr.raster_scan:VariableRasterScan",
    slots=_slots(latent_codecs.RasterScan),
)
class VbrRasterScan(latent_codecs.RasterScan):
    """Codes each position times the gain, under a context that knows the gain (Kamisli et al. 2024)."""

    def shape(self, slots: Slots, y: Sig, side: Sig | None = None) -> Sig:
        wanted = y.with_channels(len(self.chunks) * y.channels)

        def watched(name: str, *inputs: Sig, **place: int) -> Sig:
            found = slots(name, *inputs, **place)
            if name == "context_prediction" and found != wanted:
                raise ShapeError(f"a context that knows the gain is {wanted}; it is {found}", name)
            return found

        return super().shape(watched, y, side)

    def cost(self, y: Sig, side: Sig | None = None) -> Cost:
        return _offset(y) + Cost(2 * len(self.chunks) * y.channels)


@hookimpl
def tinify_components() -> list[type]:
    return [VbrEntropyBottleneck, VbrHyperprior, VbrHyper, VbrGaussian, VbrRasterScan]


@hookimpl
def tinify_spec_paths() -> list[Path]:
    return [Path(__file__).parent / "specs"]


@hookimpl
def tinify_names() -> list[Name]:
    return [
        *(
            Name("tinify.models", name, f"tinify_plugins.vbr.models:{name}")
            for name in ("ScaleHyperpriorVbr", "MeanScaleHyperpriorVbr", "JointAutoregressiveHierarchicalPriorsVbr")
        ),
        *(
            Name("tinify.latent_codecs", name, f"tinify_plugins.vbr.gained:{name}")
            for name in ("GainHyperLatentCodec", "GainHyperpriorLatentCodec")
        ),
        *(
            Name("tinify.zoo", name, f"tinify_plugins.vbr.zoo:{name}")
            for name in ("bmshj2018_hyperprior_vbr", "mbt2018_mean_vbr", "mbt2018_vbr", "vbr_models")
        ),
        Name("tinify.entropy_models", "EntropyBottleneckVbr", "tinify_plugins.vbr.bottleneck:EntropyBottleneckVbr"),
    ]
