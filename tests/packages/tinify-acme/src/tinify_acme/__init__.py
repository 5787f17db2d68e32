"""What tinify is told of acme's parts, without torch."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

from tinify.plugin import Command, Cost, Range, ShapeError, Sig, Slot, component, hookimpl


@component("layer", "acme/group_gdn", target="tinify_acme.layers:GroupGDN")
class GroupGdn:
    """Generalised divisive normalisation within groups of channels."""

    groups: Annotated[int, Range(1, 64), "groups that the channels are split into"] = 2
    inverse: bool = False

    def shape(self, x: Sig) -> Sig:
        if x.channels % self.groups:
            raise ShapeError(f"{self.groups} groups do not divide {x.channels} channels")
        return x

    def cost(self, x: Sig) -> Cost:
        weights = x.channels**2 // self.groups
        return Cost(weights + x.channels, Fraction(weights) / x.stride**2)


@component("entropy_model", "acme/laplace_conditional", target="tinify_acme.entropy_models:LaplaceConditional")
class LaplaceConditional:
    """Laplacian whose scale and mean are predicted for each element."""

    scale_min: Annotated[float, Range(0.01, 1.0), "the smallest scale that is told apart"] = 0.08
    scale_max: Annotated[float, Range(1.0, 1e4), "and the largest"] = 128.0
    levels: Annotated[int, Range(2, 1024), "scales in the table"] = 48


@component(
    "latent_codec",
    "acme/two_halves",
    target="tinify_acme.latent_codecs:TwoHalves",
    slots={
        "entropy": Slot("entropy_model", default="acme/laplace_conditional"),
        "context": Slot("transform"),
    },
)
class TwoHalves:
    """Codes one half of the channels, then the other under it."""

    quantizer: Literal["noise", "ste"] = "ste"

    def shape(self, slots: Callable[..., Sig], y: Sig, side: Sig | None = None) -> Sig:
        if y.channels % 2 or side != y.with_channels(2 * y.channels):
            raise ShapeError(f"an even latent and twice its channels of side information are needed, got {y}, {side}")
        half = slots("entropy", y.with_channels(y.channels // 2))
        refined = slots("context", half)
        if refined != y:
            raise ShapeError(
                f"the context must give scales and means of the second half, {y}; got {refined}", "context"
            )
        return y

    def cost(self, y: Sig, side: Sig | None = None) -> Cost:
        return Cost()


@component("coder", "acme/bigint", target="tinify_acme.coders:BigIntCoder")
class BigInt:
    """rANS whose state is one large integer: short to read, and slow."""


@component("loss", "acme/charbonnier", target="tinify_acme.losses:CharbonnierLoss")
class Charbonnier:
    """Bits per pixel plus lambda times a smooth absolute difference."""

    lmbda: Annotated[float, Range(0.0), "weight of distortion against bits"] = 0.01
    epsilon: Annotated[float, Range(1e-9, 1.0), "where it turns from square to absolute"] = 1e-3


@hookimpl
def tinify_components() -> list[type]:
    return [GroupGdn, LaplaceConditional, TwoHalves, BigInt, Charbonnier]


@hookimpl
def tinify_spec_paths() -> list[Path]:
    return [Path(__file__).parent / "specs"]


@hookimpl
def tinify_commands() -> list[Command]:
    return [Command("acme", "tinify_acme.cli:acme_command", "Say which parts of a spec are acme's.")]
