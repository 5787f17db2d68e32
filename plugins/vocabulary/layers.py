"""Declarations of the layers."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated

from tinify.plugin import Cost, Range, ShapeError, Sig, component

Channels = Annotated[int, Range(1, 16384)]
Kernel = Annotated[int, Range(1, 31)]
Factor = Annotated[int, Range(1, 16)]


def dense(weights: int, biases: int, at: Sig) -> Cost:
    """The cost of a layer whose every weight is used once at each position of a tensor."""
    return Cost(weights + biases, Fraction(weights) / at.stride**at.axes)


def odd(kernel: int) -> None:
    if kernel % 2 == 0:
        raise ShapeError(f"the kernel must be odd, to keep the picture in its place; got {kernel}")


def covering(kernel: int, stride: int) -> None:
    if kernel < stride:
        raise ShapeError(f"the kernel must be as wide as the stride, {stride}, or pixels are passed over; got {kernel}")


@component("layer", "conv", target="tinify.layers:conv")
class Conv:
    """A convolution, padded so that height and width are divided by the stride."""

    out: Channels
    kernel: Kernel = 5
    stride: Factor = 2

    def shape(self, x: Sig) -> Sig:
        odd(self.kernel)
        return Sig(self.out, x.stride * self.stride)

    def cost(self, x: Sig) -> Cost:
        return dense(x.channels * self.out * self.kernel**2, self.out, self.shape(x))


@component("layer", "deconv", target="tinify.layers:deconv")
class Deconv:
    """A transposed convolution; height and width are multiplied by the stride."""

    out: Channels
    kernel: Kernel = 5
    stride: Factor = 2

    def shape(self, x: Sig) -> Sig:
        odd(self.kernel)
        return Sig(self.out, x.stride / self.stride)

    def cost(self, x: Sig) -> Cost:
        return dense(x.channels * self.out * self.kernel**2, self.out, x)


@component("layer", "same_conv", target="tinify.layers.same:same_conv")
class SameConv:
    """A convolution padded as TensorFlow pads, less in front than behind, with Glorot's initial weights."""

    out: Channels
    kernel: Kernel = 5
    stride: Factor = 2

    def shape(self, x: Sig) -> Sig:
        covering(self.kernel, self.stride)
        return Sig(self.out, x.stride * self.stride)

    def cost(self, x: Sig) -> Cost:
        return dense(x.channels * self.out * self.kernel**2, self.out, self.shape(x))


@component("layer", "same_deconv", target="tinify.layers.same:same_deconv")
class SameDeconv:
    """The transposed convolution that belongs to same_conv; height and width are multiplied by the stride."""

    out: Channels
    kernel: Kernel = 5
    stride: Factor = 2

    def shape(self, x: Sig) -> Sig:
        covering(self.kernel, self.stride)
        return Sig(self.out, x.stride / self.stride)

    def cost(self, x: Sig) -> Cost:
        return dense(x.channels * self.out * self.kernel**2, self.out, x)


class Pointwise:
    """A layer that keeps the shape, and has neither parameters nor products unless it says so."""

    def shape(self, x: Sig) -> Sig:
        return x

    def cost(self, x: Sig) -> Cost:
        return Cost()


@component("layer", "gdn", target="tinify.layers:GDN")
class Gdn(Pointwise):
    """Generalised divisive normalisation (Ballé et al. 2016); its inverse multiplies."""

    inverse: bool = False

    def cost(self, x: Sig) -> Cost:
        return dense(x.channels**2, x.channels, x)


@component("layer", "gdn1", target="tinify.layers:GDN1")
class Gdn1(Gdn):
    """Divisive normalisation by absolute values (Johnston et al. 2019); its inverse multiplies."""


@component("layer", "relu", target="tinify.layers:relu")
class Relu(Pointwise):
    """Rectified linear unit."""


@component("layer", "leaky_relu", target="tinify.layers:leaky_relu")
class LeakyRelu(Pointwise):
    """Rectified linear unit with a slope below zero."""

    slope: float = 0.01


@component("layer", "abs", target="tinify.layers:Abs")
class Abs(Pointwise):
    """Absolute value."""


@component("layer", "scale", target="tinify.layers:Scale")
class Scale(Pointwise):
    """Multiplication by a constant."""

    factor: float


@component("layer", "offset", target="tinify.layers:Offset")
class Offset(Pointwise):
    """Addition of a constant."""

    value: float


@component("layer", "depthwise_block", target="tinify.layers:DepthwiseBlock")
class DepthwiseBlock(Pointwise):
    """Residual block of depthwise and 1x1 convolutions."""

    kernel: Kernel = 3
    expansion: Factor = 2

    def shape(self, x: Sig) -> Sig:
        odd(self.kernel)
        return x

    def cost(self, x: Sig) -> Cost:
        n, wide = x.channels, self.expansion * x.channels
        return dense(2 * n * n + n * self.kernel**2 + 2 * n * wide, 4 * n + wide, x)


@component("layer", "pixel_shuffle", target="tinify.layers:pixel_shuffle")
class PixelShuffle:
    """Moves channels into space: height and width are multiplied by the factor."""

    factor: Factor = 2

    def shape(self, x: Sig) -> Sig:
        square = self.factor**2
        if x.channels % square:
            raise ShapeError(f"a factor of {self.factor} needs a multiple of {square} channels, got {x}")
        return Sig(x.channels // square, x.stride / self.factor)

    def cost(self, x: Sig) -> Cost:
        return Cost()


@component("layer", "pixel_unshuffle", target="tinify.layers:pixel_unshuffle")
class PixelUnshuffle:
    """Moves space into channels: height and width are divided by the factor."""

    factor: Factor = 2

    def shape(self, x: Sig) -> Sig:
        return Sig(x.channels * self.factor**2, x.stride * Fraction(self.factor))

    def cost(self, x: Sig) -> Cost:
        return Cost()


LAYERS = (
    Conv, Deconv, SameConv, SameDeconv, Gdn, Gdn1, Relu, LeakyRelu, Abs, Scale, Offset, DepthwiseBlock,
    PixelShuffle, PixelUnshuffle,
)  # fmt: skip
