"""The layers that transforms are made of.

Those with a lower-case name are for specs: the builder calls every layer ``T(in_channels, **parameters)``.
"""

from tinify.layers.activations import Abs, QReLU, leaky_relu, relu
from tinify.layers.affine import Offset, Scale
from tinify.layers.attention import AttentionBlock
from tinify.layers.basic import Gain, Interleave, Lambda, NamedLayer, Reshape, Transpose
from tinify.layers.blocks import DepthwiseBlock
from tinify.layers.convolutions import conv, deconv, pixel_shuffle, pixel_unshuffle
from tinify.layers.gain import GainUnit, VariableRate
from tinify.layers.gdn import GDN, GDN1
from tinify.layers.masked import CheckerboardMaskedConv2d, MaskedConv2d
from tinify.layers.ramp import sequential_channel_ramp
from tinify.layers.residual import (
    ResidualBlock,
    ResidualBlockUpsample,
    ResidualBlockWithStride,
    ResidualBottleneckBlock,
    conv1x1,
    conv3x3,
    subpel_conv3x3,
)
from tinify.layers.spectral import SpectralConv2d, SpectralConvTranspose2d
from tinify.names import names_of

__all__ = [
    "GDN",
    "GDN1",
    "Abs",
    "AttentionBlock",
    "CheckerboardMaskedConv2d",
    "DepthwiseBlock",
    "Gain",
    "GainUnit",
    "Interleave",
    "Lambda",
    "MaskedConv2d",
    "NamedLayer",
    "Offset",
    "QReLU",
    "Reshape",
    "ResidualBlock",
    "ResidualBlockUpsample",
    "ResidualBlockWithStride",
    "ResidualBottleneckBlock",
    "Scale",
    "SpectralConv2d",
    "SpectralConvTranspose2d",
    "Transpose",
    "VariableRate",
    "conv",
    "conv1x1",
    "conv3x3",
    "deconv",
    "leaky_relu",
    "pixel_shuffle",
    "pixel_unshuffle",
    "relu",
    "sequential_channel_ramp",
    "subpel_conv3x3",
]

__getattr__ = names_of(__name__)
