"""The layers by the field's module path; :mod:`tinify.layers` has them too."""

from tinify.layers.activations import QReLU
from tinify.layers.attention import AttentionBlock
from tinify.layers.masked import CheckerboardMaskedConv2d, MaskedConv2d
from tinify.layers.ramp import ramp, sequential_channel_ramp
from tinify.layers.residual import (
    ResidualBlock,
    ResidualBlockUpsample,
    ResidualBlockWithStride,
    conv1x1,
    conv3x3,
    subpel_conv3x3,
)
from tinify.layers.spectral import SpectralConv2d, SpectralConvTranspose2d

__all__ = [
    "AttentionBlock",
    "CheckerboardMaskedConv2d",
    "MaskedConv2d",
    "QReLU",
    "ResidualBlock",
    "ResidualBlockUpsample",
    "ResidualBlockWithStride",
    "SpectralConv2d",
    "SpectralConvTranspose2d",
    "conv1x1",
    "conv3x3",
    "ramp",
    "sequential_channel_ramp",
    "subpel_conv3x3",
]
