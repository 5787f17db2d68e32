"""Colour transforms of picture tensors, and what plugins add."""

from tinify.names import names_of
from tinify.transforms.functional import rgb2ycbcr, ycbcr2rgb, yuv_420_to_444, yuv_444_to_420
from tinify.transforms.transforms import RGB2YCbCr, YCbCr2RGB, YUV420To444, YUV444To420

__all__ = [
    "RGB2YCbCr",
    "YCbCr2RGB",
    "YUV420To444",
    "YUV444To420",
    "rgb2ycbcr",
    "ycbcr2rgb",
    "yuv_420_to_444",
    "yuv_444_to_420",
]

__getattr__ = names_of(__name__)
