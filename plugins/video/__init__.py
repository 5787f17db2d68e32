"""Video: scale-space flow, files of compressed clips, and what reads and measures raw video."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Annotated

from tinify.plugin import Command, Cost, Name, Range, ShapeError, Sig, Slot, component, hookimpl

Slots = Callable[..., Sig]


@component("layer", "video/qrelu", target="tinify_plugins.video.layers:QReLULayer")
class VideoQRelu:
    """ReLU clamped to the range of unsigned integers, with a fading gradient (Ballé et al. 2019)."""

    bit_depth: Annotated[int, Range(1, 16)] = 8
    beta: Annotated[float, Range(1, 1e4)] = 100.0

    def shape(self, x: Sig) -> Sig:
        return x

    def cost(self, x: Sig) -> Cost:
        return Cost()


@component(
    "latent_codec",
    "video/hyperprior",
    target="tinify_plugins.video.hyperprior:ScaleMeanHyperprior",
    slots={
        "hyper_encoder": Slot("transform"),
        "hyper_decoder_mean": Slot("transform"),
        "hyper_decoder_scale": Slot("transform"),
        "entropy_bottleneck": Slot("entropy_model", default="entropy_bottleneck"),
        "gaussian_conditional": Slot("entropy_model", default="gaussian_conditional"),
    },
)
class VideoHyperprior:
    """A hyperprior whose scales and means come from two networks (Agustsson et al. 2020)."""

    def shape(self, slots: Slots, y: Sig, side: Sig | None = None) -> Sig:
        z = slots("entropy_bottleneck", slots("hyper_encoder", y))
        for name in ("hyper_decoder_mean", "hyper_decoder_scale"):
            found = slots(name, z)
            if found != y:
                raise ShapeError(f"scales and means are of the latent's shape, {y}; these are {found}", name)
        return slots("gaussian_conditional", y, y)

    def cost(self, y: Sig, side: Sig | None = None) -> Cost:
        return Cost()


@component(
    "model",
    "video/scale_space_flow",
    target="tinify_plugins.video.flow:ScaleSpaceModel",
    slots={
        **{f"{part}_{side}coder": Slot("transform") for part in ("img", "motion", "res") for side in ("en", "de")},
        **{f"{part}_hyperprior": Slot("latent_codec") for part in ("img", "motion", "res")},
        "coder": Slot("coder", optional=True),
    },
)
class ScaleSpaceFlow:
    """Frames predicted from those before, moved and blurred, and what that leaves (Agustsson et al. 2020)."""

    num_levels: Annotated[int, Range(1, 8), "blurred versions of a frame"] = 5
    sigma0: Annotated[float, Range(0.1, 16), "how far the first of them is blurred, in pixels"] = 1.5

    def shape(self, slots: Slots, x: Sig) -> Sig:
        if x.channels != 3:
            raise ShapeError(f"a frame has three channels; this is {x}")
        pair = x.with_channels(2 * x.channels)
        self._coded(slots, "img", x, x)
        motion = self._coded(slots, "motion", pair, x)
        residual = slots("res_hyperprior", slots("res_encoder", x))
        if residual.stride != motion.stride:
            raise ShapeError(f"latents of motion and of residuals are of one size: {motion} and {residual}")
        found = slots("res_decoder", residual.with_channels(residual.channels + motion.channels))
        if found != x:
            raise ShapeError(f"a residual is of the frame's shape, {x}; this is {found}", "res_decoder")
        return x

    def cost(self, x: Sig) -> Cost:
        # Each blurred version, half as large as the one before, is blurred along both axes.
        taps = 2 * math.ceil(3 * self.sigma0) + 1
        return Cost(0, sum((Fraction(2 * taps * x.channels, 4**level) for level in range(self.num_levels)), Fraction()))

    def _coded(self, slots: Slots, part: str, x: Sig, wanted: Sig) -> Sig:
        y = slots(f"{part}_hyperprior", slots(f"{part}_encoder", x))
        found = slots(f"{part}_decoder", y)
        if found != wanted:
            raise ShapeError(f"{part}_decoder must end at {wanted}; it ends at {found}", f"{part}_decoder")
        return y


@hookimpl
def tinify_components() -> list[type]:
    return [VideoQRelu, VideoHyperprior, ScaleSpaceFlow]


@hookimpl
def tinify_spec_paths() -> list[Path]:
    return [Path(__file__).parent / "specs"]


@hookimpl
def tinify_names() -> list[Name]:
    return [
        Name("tinify.models", "ScaleSpaceFlow", "tinify_plugins.video.models:ScaleSpaceFlow"),
        Name("tinify.datasets", "RawVideoSequence", "tinify_plugins.video.raw:RawVideoSequence"),
        Name("tinify.datasets", "VideoFolder", "tinify_plugins.video.datasets:VideoFolder"),
        Name("tinify.datasets", "VideoFormat", "tinify_plugins.video.raw:VideoFormat"),
        Name("tinify.zoo", "ssf2020", "tinify_plugins.video.zoo:ssf2020"),
        Name("tinify.zoo", "video_models", "tinify_plugins.video.zoo:video_models"),
    ]


@hookimpl
def tinify_commands() -> list[Command]:
    return [Command("video", "tinify_plugins.video.commands:video", "Compress clips, and play them.")]
