"""Declarations of the latent codecs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Annotated, Literal

from tinify.plugin import Cost, Range, ShapeError, Sig, Slot, component

Slots = Callable[..., Sig]
Chunks = list[Literal["scales", "means", "weights"]]
ScaleLink = Literal["identity", "softplus"]


def _density(slots: Slots, chunks: Sequence[str], y: Sig, side: Sig | None) -> Sig:
    """What the slot ``gaussian_conditional`` makes of a latent whose parameters are ``side`` in these chunks."""
    if "scales" not in chunks or len(set(chunks)) != len(chunks):
        raise ShapeError(f"chunks are [scales], or scales, means and weights in any order; got {list(chunks)}")
    need = y.with_channels(len(chunks) * y.channels)
    mixture = "weights" in chunks and side is not None and side.channels % need.channels == 0
    if side != need.with_channels(side.channels if side and mixture else need.channels):
        got = f"the side information is {side}" if side else "there is no side information"
        raise ShapeError(f"{' and '.join(chunks)} of {y} take side information of {need}; {got}")
    assert side is not None
    return slots("gaussian_conditional", y, y.with_channels(side.channels // len(chunks)))


def _context(slots: Slots, y: Sig, side: Sig | None) -> Sig:
    """What a network predicts from side information and a convolution over what was decoded."""
    if side is None or side.stride != y.stride:
        got = f"the side information is {side}" if side else "there is no side information"
        raise ShapeError(f"a context model of {y} takes side information of the same height and width; {got}")
    context = slots("context_prediction", y)
    if context.stride != y.stride:
        raise ShapeError(f"the context must keep height and width, {y}; it gives {context}", "context_prediction")
    return slots("entropy_parameters", y.with_channels(context.channels + side.channels))


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
    slots={
        "entropy_parameters": Slot("transform", optional=True),
        "gaussian_conditional": Slot("entropy_model", default="gaussian_conditional"),
    },
)
class GaussianConditionalCodec(Weightless):
    """Codes a latent by Gaussians that the side information describes, or a network's parameters from it."""

    quantizer: Literal["noise", "ste"] = "noise"
    chunks: Chunks = ["scales", "means"]  # noqa: RUF012 - the decorator freezes it
    scale_link: ScaleLink = "identity"

    def shape(self, slots: Slots, y: Sig, side: Sig | None = None) -> Sig:
        return _density(slots, self.chunks, y, None if side is None else slots("entropy_parameters", side))


@component(
    "latent_codec",
    "hyper",
    target="tinify.latent_codecs:HyperLatentCodec",
    slots={
        "entropy_bottleneck": Slot("entropy_model", default="entropy_bottleneck"),
        "gain": Slot("layer", optional=True),
        "inverse": Slot("layer", optional=True),
        "h_a": Slot("transform"),
        "h_s": Slot("transform"),
    },
)
class Hyper(Weightless):
    """Codes the hyper-latent z = h_a(y) and gives h_s(z), the parameters of y's density."""

    quantizer: Literal["noise", "ste"] = "noise"
    magnitude: bool = False

    def shape(self, slots: Slots, y: Sig, side: Sig | None = None) -> Sig:
        z = slots("gain", slots("h_a", y))
        return slots("h_s", slots("inverse", slots("entropy_bottleneck", z)))


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
    "raster_scan",
    target="tinify.latent_codecs:RasterScanLatentCodec",
    slots={
        "context_prediction": Slot("layer", default="masked_conv"),
        "entropy_parameters": Slot("transform"),
        "gaussian_conditional": Slot("entropy_model", default="gaussian_conditional"),
    },
)
class RasterScan(Weightless):
    """Codes each position under a masked convolution of all before it (Minnen et al. 2018)."""

    chunks: Chunks = ["scales", "means"]  # noqa: RUF012 - the decorator freezes it
    scale_link: ScaleLink = "identity"

    def shape(self, slots: Slots, y: Sig, side: Sig | None = None) -> Sig:
        return _density(slots, self.chunks, y, _context(slots, y, side))


@component(
    "latent_codec",
    "checkerboard",
    target="tinify.latent_codecs:CheckerboardLatentCodec",
    slots={
        "context_prediction": Slot("layer", default="checkerboard_conv"),
        "entropy_parameters": Slot("transform"),
        "y": Slot("latent_codec", default="gaussian_conditional"),
    },
)
class Checkerboard(Weightless):
    """Codes half of the positions, then the other half given them (He et al. 2021)."""

    anchor_parity: Literal["even", "odd"] = "even"
    forward_method: Literal["onepass", "twopass"] = "twopass"

    def shape(self, slots: Slots, y: Sig, side: Sig | None = None) -> Sig:
        return slots("y", y, _context(slots, y, side))


@component(
    "latent_codec",
    "channel_groups",
    target="tinify.latent_codecs.channel_groups:channel_groups",
    slots={
        "channel_context": Slot("transform", each="groups"),
        "latent_codec": Slot("latent_codec", each="groups"),
    },
)
class ChannelGroups(Weightless):
    """Codes uneven groups of channels in turn, each given those before it (He et al. 2022)."""

    groups: list[Annotated[int, Range(1, 16384)]]
    seen: Literal["all", "first_and_last"] = "all"

    def shape(self, slots: Slots, y: Sig, side: Sig | None = None) -> Sig:
        if sum(self.groups) != y.channels:
            raise ShapeError(f"groups {list(self.groups)} have {sum(self.groups)} channels together, the latent is {y}")
        for k, width in enumerate(self.groups):
            given = sum(self.groups[:k]) if self.seen == "all" or k < 3 else self.groups[0] + self.groups[k - 1]
            context = [slots("channel_context", y.with_channels(given), index=k)] if k else []
            if any(sig.stride != y.stride for sig in context):
                raise ShapeError(f"a channel context must keep height and width, {y}", "channel_context")
            channels = sum(sig.channels for sig in [*context, *([side] if side else [])])
            slots("latent_codec", y.with_channels(width), y.with_channels(channels) if channels else None, index=k)
        return y


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


@component(
    "latent_codec",
    "quadtree",
    target="tinify.latent_codecs:QuadtreeLatentCodec",
    slots={"latent_codec": Slot("latent_codec")},
)
class Quadtree(Weightless):
    """Folds squares of 2x2 positions into channels, whose four equal groups are the steps (Li et al. 2023)."""

    def shape(self, slots: Slots, y: Sig, side: Sig | None = None) -> Sig:
        if y.channels % 4:
            raise ShapeError(f"a quadtree takes a multiple of 4 channels; the latent is {y}")
        folded = y.strided(2).with_channels(4 * y.channels)
        if slots("latent_codec", folded, side) != folded:
            raise ShapeError(f"the latent codec must return the folded latent's shape, {folded}", "latent_codec")
        return y


@component(
    "latent_codec",
    "gain",
    target="tinify.latent_codecs:GainLatentCodec",
    slots={
        "gain": Slot("layer", default="gain_unit"),
        "inverse": Slot("layer", default="gain_unit"),
        "latent_codec": Slot("latent_codec"),
    },
)
class Gain(Weightless):
    """Codes a latent times a learned factor for each channel and quality (Cui et al. 2021)."""

    def shape(self, slots: Slots, y: Sig, side: Sig | None = None) -> Sig:
        return slots("inverse", slots("latent_codec", slots("gain", y), side))


LATENT_CODECS = (
    EntropyBottleneckCodec, GaussianConditionalCodec, Hyper, Hyperprior, RasterScan, Checkerboard, ChannelGroups,
    ChannelConditional, Quadtree, Gain,
)  # fmt: skip
