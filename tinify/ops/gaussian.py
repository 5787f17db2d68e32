"""Gaussians integrated over unit intervals, and what a coder asks of them."""

from __future__ import annotations

import math
from inspect import unwrap
from typing import Any

import torch
from torch import Tensor

from tinify.ops.indexes import scale_indexes
from tinify.ops.operator import gradient, operator


@operator(
    "gaussian_likelihood(Tensor y, Tensor scales, Tensor? means) -> Tensor",
    fake=lambda y, scales, means: torch.empty_like(y),
)
def gaussian_likelihood(y: Tensor, scales: Tensor, means: Tensor | None) -> Tensor:
    """The mass that a Gaussian of each scale and mean (0 without) has in the interval of width one around ``y``.

    All are of one shape, the scales positive; so is the result. Ballé et al., Variational Image Compression with a
    Scale Hyperprior, ICLR 2018.

    >>> round(gaussian_likelihood(torch.zeros(1), torch.ones(1), None).item(), 4)
    0.3829
    """
    distance = torch.abs(y if means is None else y - means)
    return normal_cumulative((0.5 - distance) / scales) - normal_cumulative((-0.5 - distance) / scales)


@operator(
    "gaussian_likelihood_backward(Tensor grad, Tensor y, Tensor scales, Tensor? means) -> (Tensor, Tensor)",
    fake=lambda grad, y, scales, means: (torch.empty_like(y), torch.empty_like(scales)),
)
def gaussian_likelihood_backward(
    grad: Tensor, y: Tensor, scales: Tensor, means: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The gradients of ``y`` and the scales from that of the likelihood; that of the means is the first, negated."""
    offset = y if means is None else y - means
    distance = torch.abs(offset)
    upper, lower = (0.5 - distance) / scales, (-0.5 - distance) / scales
    at_upper, at_lower = _density(upper), _density(lower)
    by = grad / scales
    return by * (at_lower - at_upper) * torch.sign(offset), by * (lower * at_lower - upper * at_upper)


@operator(
    "quantize_indexes(Tensor y, Tensor scales, Tensor? means, Tensor bound, Tensor table) -> (Tensor, Tensor, Tensor)",
    fake=lambda y, scales, means, bound, table: (
        torch.empty_like(y, dtype=torch.int32), torch.empty_like(y, dtype=torch.int32), torch.empty_like(y)
    ),
)  # fmt: skip
def quantize_indexes(
    y: Tensor, scales: Tensor, means: Tensor | None, bound: Tensor, table: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """What coding a latent asks for, at once: the symbols, the rows of the scale table, and what a decoder sees.

    Symbols are ``y`` less its means (0 without), rounded half to even, int32; rows are those of
    :func:`~tinify.ops.scale_indexes`, int32, of scales that are raised to ``bound``, of one element; the last is
    symbols plus means, like ``y``. Beyond int32 no symbol is defined.

    >>> one, table = torch.ones(1), torch.tensor([0.5, 2.0])
    >>> [found.tolist() for found in quantize_indexes(torch.tensor([1.7]), one, None, 0.1 * one, table)]
    [[2], [1], [2.0]]
    """
    rounded = torch.round(y if means is None else y - means)
    rows: Tensor = unwrap(scale_indexes)(torch.max(scales, bound.to(scales.dtype)), table)
    return rounded.int(), rows, rounded if means is None else rounded + means


def normal_cumulative(x: Tensor) -> Tensor:
    """The standard normal cumulative function; erfc keeps its precision in the lower tail."""
    return 0.5 * torch.erfc(x * -(2**-0.5))


def _density(x: Tensor) -> Tensor:
    return torch.exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    y, scales, means = inputs
    ctx.save_for_backward(y, scales, *(() if means is None else (means,)))


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    y, scales, *means = ctx.saved_tensors
    plain: Any = unwrap(gaussian_likelihood_backward) if torch.is_grad_enabled() else gaussian_likelihood_backward
    of_y, of_scales = plain(grad, y, scales, means[0] if means else None)
    return of_y, of_scales, -of_y if means else None


gradient("gaussian_likelihood", _setup, _backward)
