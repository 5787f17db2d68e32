"""Declarations of the layers that are made of several: blocks, masked and sub-pixel convolutions."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from tinify.plugin import Cost, Range, ShapeError, Sig, component

from .layers import Channels, Factor, Kernel, Pointwise, dense, odd


def convolution(into: int, out: int, kernel: int, at: Sig) -> Cost:
    """The cost of a convolution with bias whose output, or whose input if it is transposed, is like ``at``."""
    return dense(into * out * kernel**2, out, at)


@component("layer", "checkerboard_conv", target="tinify.layers.masked:checkerboard_conv")
class CheckerboardConv:
    """Convolution over the other colour of a checkerboard (He et al. 2021)."""

    out: Annotated[Channels | None, "channels; as many as come in where it is null"] = None
    kernel: Kernel = 5

    def shape(self, x: Sig) -> Sig:
        odd(self.kernel)
        return x.with_channels(self.out or x.channels)

    def cost(self, x: Sig) -> Cost:
        return convolution(x.channels, self.out or x.channels, self.kernel, x)


@component("layer", "masked_conv", target="tinify.layers.masked:masked_conv")
class MaskedConv(CheckerboardConv):
    """Convolution over what comes before in raster order (van den Oord et al. 2016)."""

    mask: Literal["A", "B"] = "A"


@component("layer", "subpel_conv", target="tinify.layers.residual:subpel_conv")
class SubpelConv:
    """Convolution and pixel shuffle; height and width are multiplied by the factor."""

    out: Channels
    kernel: Kernel = 3
    factor: Factor = 2

    def shape(self, x: Sig) -> Sig:
        odd(self.kernel)
        return Sig(self.out, x.stride / self.factor)

    def cost(self, x: Sig) -> Cost:
        return convolution(x.channels, self.out * self.factor**2, self.kernel, x)


@component("layer", "residual_block", target="tinify.layers.residual:residual_block")
class ResidualBlock:
    """Two 3x3 convolutions beside an identity (Cheng et al. 2020)."""

    out: Channels

    def shape(self, x: Sig) -> Sig:
        return x.with_channels(self.out)

    def cost(self, x: Sig) -> Cost:
        skip = convolution(x.channels, self.out, 1, x) if x.channels != self.out else Cost()
        return convolution(x.channels, self.out, 3, x) + convolution(self.out, self.out, 3, x) + skip


@component("layer", "residual_block_stride", target="tinify.layers.residual:residual_block_stride")
class ResidualBlockStride:
    """Residual block whose height and width are divided by a stride, with GDN (Cheng et al. 2020)."""

    out: Channels
    stride: Factor = 2

    def shape(self, x: Sig) -> Sig:
        return Sig(self.out, x.stride * self.stride)

    def cost(self, x: Sig) -> Cost:
        at, same = self.shape(x), self.stride == 1 and x.channels == self.out
        skip = Cost() if same else convolution(x.channels, self.out, 1, at)
        return (
            convolution(x.channels, self.out, 3, at)
            + convolution(self.out, self.out, 3, at)
            + convolution(self.out, self.out, 1, at)  # GDN
            + skip
        )


@component("layer", "residual_block_upsample", target="tinify.layers.residual:residual_block_upsample")
class ResidualBlockUpsample:
    """Residual block whose height and width are multiplied by a factor, with IGDN (Cheng et al. 2020)."""

    out: Channels
    factor: Factor = 2

    def shape(self, x: Sig) -> Sig:
        return Sig(self.out, x.stride / self.factor)

    def cost(self, x: Sig) -> Cost:
        at, widened = self.shape(x), convolution(x.channels, self.out * self.factor**2, 3, x)
        return widened + convolution(self.out, self.out, 3, at) + convolution(self.out, self.out, 1, at) + widened


def bottleneck(channels: int, x: Sig) -> Cost:
    """A 3x3 convolution at half the channels between two 1x1 ones."""
    half = max(1, channels // 2)
    return convolution(channels, half, 1, x) + convolution(half, half, 3, x) + convolution(half, channels, 1, x)


@component("layer", "residual_bottleneck", target="tinify.layers.residual:residual_bottleneck")
class ResidualBottleneck(Pointwise):
    """Residual block of half the channels (He et al. 2022)."""

    def cost(self, x: Sig) -> Cost:
        return bottleneck(x.channels, x)


@component("layer", "attention", target="tinify.layers.attention:attention")
class Attention(Pointwise):
    """Residual units that weigh residual units, element by element (Cheng et al. 2020)."""

    def cost(self, x: Sig) -> Cost:
        units = [bottleneck(x.channels, x) for _ in range(6)]
        return sum(units, convolution(x.channels, x.channels, 1, x))


@component("layer", "channel_ramp", target="tinify.layers.ramp:channel_ramp")
class ChannelRamp:
    """Convolutions whose channels go evenly to those of the last (He et al. 2022)."""

    out: Channels
    min: Annotated[int, Range(0, 16384), "channels that all but the last have at least"] = 0
    layers: Annotated[int, Range(1, 64)] = 3
    kernel: Kernel = 1
    activation: Literal["relu", "leaky_relu"] = "relu"

    def _widths(self, x: Sig) -> list[int]:
        step = self.layers
        inner = [(x.channels * (step - k) + self.out * k) // step for k in range(1, step)]
        return [x.channels, *(max(self.min, width) for width in inner), self.out]

    def shape(self, x: Sig) -> Sig:
        odd(self.kernel)
        if min(self._widths(x)) < 1:
            raise ShapeError(f"the ramp from {x} to {self.out} channels passes through none")
        return x.with_channels(self.out)

    def cost(self, x: Sig) -> Cost:
        widths = self._widths(x)
        layers = (convolution(a, b, self.kernel, x) for a, b in pairwise(widths))
        return sum(layers, Cost())


@component("layer", "interleave", target="tinify.layers.basic:interleave")
class Interleave(Pointwise):
    """Channels shuffled between groups (Zhang et al. 2018)."""

    groups: Annotated[int, Range(1, 16384)]

    def shape(self, x: Sig) -> Sig:
        if x.channels % self.groups:
            raise ShapeError(f"{x} do not make {self.groups} equal groups")
        return x


@component("layer", "gain", target="tinify.layers.basic:gain")
class Gain(Pointwise):
    """Multiplication by a learned factor for each channel."""

    factor: float = 1.0

    def cost(self, x: Sig) -> Cost:
        return Cost(x.channels)


@component("layer", "gain_unit", target="tinify.layers.gain:GainUnit")
class GainUnit(Pointwise):
    """A learned factor for each channel and quality, in latents of variable rate (Cui et al. 2021)."""

    points: Annotated[int, Range(2, 1024), "qualities, from 1 on; those between are interpolated"] = 10
    span: Annotated[float, Range(1e-6, 1e6), "the best quality's factors over the worst's, at first"] = 1.0

    def cost(self, x: Sig) -> Cost:
        return Cost(self.points * x.channels)


BLOCKS = (
    MaskedConv, CheckerboardConv, SubpelConv, ResidualBlock, ResidualBlockStride, ResidualBlockUpsample,
    ResidualBottleneck, Attention, ChannelRamp, Interleave, Gain, GainUnit,
)  # fmt: skip
