"""Exact arithmetic: what chooses coding tables, computed with integers, so that every machine chooses the same.

A decoder reads garbage as soon as one of its tables is another than the encoder's. Here sums of products are integers
below 2^24, the same in whatever order they are added; everything else is one operation after another, element by
element, each rounded as IEEE 754 says. With integers of fewer bits go about it: Ballé, Johnston, Minnen: Integer
Networks for Data Compression with Latent-Variable Models, ICLR 2019; He et al.: Post-Training Quantization for
Cross-Platform Learned Image Compression, 2022, arXiv:2202.07513.
"""

from tinify.exact.arithmetic import CARRIERS, probe, products
from tinify.exact.audit import audit
from tinify.exact.convert import exact_layers, exchange, fitted, shell, use_carrier, watched
from tinify.exact.entry import Entry, ExactActivation
from tinify.exact.forms import FORMS
from tinify.exact.gain import ExactGain, interpolated, logarithms, natural
from tinify.exact.geometry import Geometry
from tinify.exact.head import IndexHead
from tinify.exact.layers import ExactLayer
from tinify.exact.reproducible import Reproduced, reproducible
from tinify.exact.straight import Straight, fine_tune, settle, straight_through

__all__ = [
    "CARRIERS",
    "FORMS",
    "Entry",
    "ExactActivation",
    "ExactGain",
    "ExactLayer",
    "Geometry",
    "IndexHead",
    "Reproduced",
    "Straight",
    "audit",
    "exact_layers",
    "exchange",
    "fine_tune",
    "fitted",
    "interpolated",
    "logarithms",
    "natural",
    "probe",
    "products",
    "reproducible",
    "settle",
    "shell",
    "straight_through",
    "use_carrier",
    "watched",
]
