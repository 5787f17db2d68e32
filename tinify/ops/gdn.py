"""Generalised divisive normalisation: each channel over a pool of all channels at its position."""

from __future__ import annotations

from inspect import unwrap
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tinify.ops.operator import gradient, operator


@operator(
    "gdn(Tensor x, Tensor beta, Tensor gamma, bool inverse=False, bool absolute=False) -> Tensor",
    fake=lambda x, beta, gamma, inverse=False, absolute=False: torch.empty_like(x),
)
def gdn(x: Tensor, beta: Tensor, gamma: Tensor, inverse: bool = False, absolute: bool = False) -> Tensor:
    """Generalised divisive normalisation: ``x / sqrt(beta + gamma @ x**2)`` over channels.

    The inverse is ``x * sqrt(...)``. ``x`` is (batch, C, height, width), ``beta`` (C,), ``gamma`` (C, C) with a row
    for each output channel; returns a tensor like ``x``. ``absolute`` is the form of :func:`gdn1`.
    Ballé et al., Density Modeling of Images using a Generalized Normalization Transformation, ICLR 2016.

    >>> round(gdn(torch.full((1, 1, 1, 1), 3.0), torch.tensor([16.0]), torch.tensor([[1.0]])).item(), 4)
    0.6
    """
    pool = _pool(x, beta, gamma, absolute)  # fresh memory, which costs as much as the arithmetic: it becomes the result
    if not absolute:
        pool = pool.sqrt_() if inverse else pool.rsqrt_()
    out = pool.mul_(x) if inverse or not absolute else torch.div(x, pool, out=pool)
    return out.to(x.dtype)


def gdn1(x: Tensor, beta: Tensor, gamma: Tensor, *, inverse: bool = False) -> Tensor:
    """Divisive normalisation by absolute values: ``x / (beta + gamma @ |x|)`` over channels.

    The inverse is ``x * (...)``; arguments and result are those of :func:`gdn`.
    Johnston et al., Computationally Efficient Neural Image Compression, 2019, arXiv:1912.08771.
    """
    return gdn(x, beta, gamma, inverse, True)


@operator(
    "gdn_backward(Tensor grad, Tensor x, Tensor beta, Tensor gamma, bool inverse, bool absolute)"
    " -> (Tensor, Tensor, Tensor)",
    fake=lambda grad, x, beta, gamma, inverse, absolute: tuple(map(torch.empty_like, (x, beta, gamma))),
)
def gdn_backward(
    grad: Tensor, x: Tensor, beta: Tensor, gamma: Tensor, inverse: bool, absolute: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of ``x``, ``beta`` and ``gamma`` from that of :func:`gdn`'s result."""
    pool, grad = _pool(x, beta, gamma, absolute), grad.to(x.dtype)
    # What x is multiplied by, and what that changes by with the pool.
    if absolute:
        factor = pool if inverse else 1 / pool
        slope = x if inverse else -x * factor * factor
    else:
        factor = torch.sqrt(pool) if inverse else torch.rsqrt(pool)
        slope = 0.5 * x * (1 / factor if inverse else -factor * factor * factor)
    of_pool = grad * slope
    through = F.conv2d(of_pool, gamma.T[:, :, None, None].to(x.dtype))
    of_x = grad * factor + through * (torch.sign(x) if absolute else 2 * x)
    members = _members(x, absolute).transpose(0, 1).flatten(1)
    of_gamma = of_pool.transpose(0, 1).flatten(1) @ members.T
    return of_x.to(x.dtype), of_pool.sum((0, 2, 3)).to(beta.dtype), of_gamma.to(gamma.dtype)


def _members(x: Tensor, absolute: bool) -> Tensor:
    return torch.abs(x) if absolute else x * x


def _pool(x: Tensor, beta: Tensor, gamma: Tensor, absolute: bool) -> Tensor:
    return F.conv2d(_members(x, absolute), gamma[:, :, None, None].to(x.dtype), beta.to(x.dtype))


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, beta, gamma, ctx.inverse, ctx.absolute = inputs
    ctx.save_for_backward(x, beta, gamma)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    # The definition is made of differentiable steps, should somebody want the gradient of a gradient.
    plain: Any = unwrap(gdn_backward) if torch.is_grad_enabled() else gdn_backward
    return (*plain(grad, *ctx.saved_tensors, ctx.inverse, ctx.absolute), None, None)


gradient("gdn", _setup, _backward)
