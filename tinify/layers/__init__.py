"""The layers that transforms are made of; every one is called ``T(in_channels, **parameters)`` by the builder."""

from tinify.layers.activations import Abs, leaky_relu, relu
from tinify.layers.affine import Offset, Scale
from tinify.layers.blocks import DepthwiseBlock
from tinify.layers.convolutions import conv, deconv, pixel_shuffle, pixel_unshuffle
from tinify.layers.gdn import GDN

__all__ = [
    "GDN",
    "Abs",
    "DepthwiseBlock",
    "Offset",
    "Scale",
    "conv",
    "deconv",
    "leaky_relu",
    "pixel_shuffle",
    "pixel_unshuffle",
    "relu",
]
