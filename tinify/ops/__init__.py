"""Plain PyTorch definitions of the small operations that the layers and entropy models are made of.

Papers' letters: ``x`` picture, ``y`` latent, ``z`` hyper-latent, ``*_hat`` what the decoder sees; axes are batch,
channel, height, width. Those made with :func:`~tinify.ops.operator.operator` are operators of torch, and a kernel of a
plugin may take their place on a device.
"""

from tinify.ops.bounds import LowerBound, NonNegativeParametrizer, lower_bound, upper_bound
from tinify.ops.flops import FLOPS
from tinify.ops.gaussian import gaussian_likelihood, gaussian_likelihood_backward, normal_cumulative, quantize_indexes
from tinify.ops.gdn import gdn, gdn1, gdn_backward
from tinify.ops.indexes import scale_indexes
from tinify.ops.linear import ordered_linear
from tinify.ops.masked import conv_at, masked_conv2d, masked_conv2d_backward
from tinify.ops.noise import add_noise
from tinify.ops.operator import has_kernel
from tinify.ops.padding import compute_padding
from tinify.ops.rans import rans_decode, rans_encode, rans_pop
from tinify.ops.residual import residual
from tinify.ops.rounding import (
    perturb_and_apply,
    quantize_ste,
    round_st,
    soft_round,
    soft_round_conditional_mean,
    soft_round_inverse,
)

__all__ = [
    "FLOPS",
    "LowerBound",
    "NonNegativeParametrizer",
    "add_noise",
    "compute_padding",
    "conv_at",
    "gaussian_likelihood",
    "gaussian_likelihood_backward",
    "gdn",
    "gdn1",
    "gdn_backward",
    "has_kernel",
    "lower_bound",
    "masked_conv2d",
    "masked_conv2d_backward",
    "normal_cumulative",
    "ordered_linear",
    "perturb_and_apply",
    "quantize_indexes",
    "quantize_ste",
    "rans_decode",
    "rans_encode",
    "rans_pop",
    "residual",
    "round_st",
    "scale_indexes",
    "soft_round",
    "soft_round_conditional_mean",
    "soft_round_inverse",
    "upper_bound",
]
