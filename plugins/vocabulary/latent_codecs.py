"""Declarations of the latent codecs."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Annotated, Literal

from tinify.plugin import Cost, Range, ShapeError, Sig, Slot, component

Slots = Callable[..., Sig]


class Weightless:
    """A codec whose parameters are all in its slots."""

    def cost(self, y: Sig, side: Sig | None = None) -> Cost:
        return Cost()


@component(
    "latent_codec",
    "entropy_bottleneck",
    target="tinify.latent_codecs:EntropyBottleneckLatentCodec",
    slots={"entropy_bottleneck": Slot("entropy_model", default="entropy_bottleneck")},
)
class EntropyBottleneckCodec(Weightless):
    """Codes a latent by a factorized prior, with no side information."""

    def shape(self, slots: Slots, y: Sig, side: Sig | None = None) -> Sig:
        return slots("entropy_bottleneck", y)


@component(
    "latent_codec",
    "gaussian_conditional",
    target="tinify.latent_codecs:GaussianConditionalLatentCodec",
    slots={"gaussian_conditional": Slot("entropy_model", default="gaussian_conditional")},
)
class GaussianConditionalCodec(Weightless):
    """Codes a latent by Gaussians that the side information describes."""

    quantizer: Literal["noise", "ste"] = "noise"
    chunks: list[Literal["scales", "means"]] = ["scales", "means"]  # noqa: RUF012 - the decorator freezes it
    scale_link: Literal["identity", "softplus"] = "identity"

    def shape(self, slots: Slots, y: Sig, side: Sig | None = None) -> Sig:
        if sorted(self.chunks) not in (["scales"], ["means", "scales"]):
            raise ShapeError(f"chunks are [scales], or scales and means in either order; got {list(self.chunks)}")
        need = y.with_channels(len(self.chunks) * y.channels)
        if side != need:
            got = f"the side information is {side}" if side else "there is no side information"
            raise ShapeError(f"{' and '.join(self.chunks)} of {y} take side information of {need}; {got}")
        return slots("gaussian_conditional", y)


@component(
    "latent_codec",
    "hyper",
    target="tinify.latent_codecs:HyperLatentCodec",
    slots={
        "entropy_bottleneck": Slot("entropy_model", default="entropy_bottleneck"),
        "h_a": Slot("transform"),
        "h_s": Slot("transform"),
    },
)
class Hyper(Weightless):
    """Codes the hyper-latent z = h_a(y) and gives h_s(z), the parameters of y's density."""

    quantizer: Literal["noise", "ste"] = "noise"
    magnitude: bool = False

    def shape(self, slots: Slots, y: Sig, side: Sig | None = None) -> Sig:
        z = slots("h_a", y)
        return slots("h_s", slots("entropy_bottleneck", z))


@component(
    "latent_codec",
    "hyperprior",
    target="tinify.latent_codecs:HyperpriorLatentCodec",
    slots={"hyper": Slot("latent_codec"), "y": Slot("latent_codec")},
)
class Hyperprior(Weightless):
    """Codes side information first, then the latent under it."""

    def shape(self, slots: Slots, y: Sig, side: Sig | None = None) -> Sig:
        return slots("y", y, slots("hyper", y))


@component(
    "latent_codec",
    "channel_conditional",
    target="tinify.latent_codecs:ChannelConditionalLatentCodec",
    slots={"y": Slot("latent_codec", default="gaussian_conditional")},
)
class ChannelConditional:
    """Codes equal groups of channels in turn, each under those before it (Minnen, Singh 2020)."""

    channels: Annotated[int, Range(1, 16384)]
    groups: Annotated[int, Range(2, 64)] = 4
    hidden: Annotated[int, Range(1, 16384)] = 128

    def shape(self, slots: Slots, y: Sig, side: Sig | None = None) -> Sig:
        if y.channels != self.channels or y.channels % self.groups:
            raise ShapeError(f"{self.groups} equal groups of {self.channels} channels do not make {y}")
        if side != y.with_channels(2 * y.channels):
            raise ShapeError(f"scales and means of {y} take side information of twice its channels; got {side}")
        part = y.with_channels(y.channels // self.groups)
        slots("y", part, part.with_channels(2 * part.channels))
        return y

    def cost(self, y: Sig, side: Sig | None = None) -> Cost:
        width = y.channels // self.groups
        entering = sum(2 * y.channels + group * width for group in range(1, self.groups))
        weights = 9 * entering * self.hidden + (self.groups - 1) * self.hidden * 2 * width
        biases = (self.groups - 1) * (self.hidden + 2 * width)
        return Cost(weights + biases, Fraction(weights) / y.stride**2)


LATENT_CODECS = (EntropyBottleneckCodec, GaussianConditionalCodec, Hyper, Hyperprior, ChannelConditional)
