"""Rounding with gradients: straight through, softly, and under noise."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_IDENTITY = 1e-3  # a soft rounding so soft that it is none


def quantize_ste(x: Tensor) -> Tensor:
    """``x`` rounded (half to even), with the gradient of the identity: the straight-through estimator.

    Returns a tensor like ``x``. Bengio et al., Estimating or Propagating Gradients Through Stochastic Neurons, 2013.

    >>> quantize_ste(torch.tensor([0.4, 1.6])).tolist()
    [0.0, 2.0]
    """
    return (torch.round(x) - x).detach() + x


def round_st(x: Tensor, offset: Tensor | float | None = None) -> Tensor:
    """The nearest of the integers shifted by ``offset``, with the gradient of the identity to ``x`` and none to it.

    Returns a tensor like ``x``.

    >>> round_st(torch.tensor([0.4, 1.6]), 0.25).tolist()
    [0.25, 1.25]
    """
    rounded = torch.round(x) if offset is None else torch.round(x - offset) + offset
    return x + (rounded - x).detach() if x.requires_grad else rounded


def soft_round(x: Tensor, alpha: float) -> Tensor:
    """A smooth function between the identity (``alpha`` of 0) and rounding (``alpha`` without bound), like ``x``.

    Agustsson and Theis, Universally Quantized Neural Compression, NeurIPS 2020, section 4.1.

    >>> soft_round(torch.tensor([0.0, 0.5, 2.0]), 7.0).tolist()
    [0.0, 0.5, 2.0]
    """
    if alpha < _IDENTITY:
        return x
    middle = torch.floor(x) + 0.5
    return middle + torch.tanh(alpha * (x - middle)) / (2 * math.tanh(alpha / 2))


def soft_round_inverse(y: Tensor, alpha: float) -> Tensor:
    """The ``x`` whose :func:`soft_round` is ``y``, exact for large ``alpha`` too, with gradients that are finite."""
    if alpha < _IDENTITY:
        return y
    middle = torch.floor(y) + 0.5
    side = 2 * (y - middle)
    distance = torch.where(side < 0, -side, side)  # the gradient of abs() is 0 at 0
    # tanh(alpha / 2) is one minus this, which a subtraction from one would lose.
    lost = max(2 / (1 + math.exp(min(alpha, 700))), torch.finfo(y.dtype).tiny)
    reach = torch.log1p(distance * (1 - lost)) - torch.log((1 - distance) + distance * lost)
    reach = torch.clamp(reach / (2 * alpha), max=0.5)
    return middle + torch.where(side < 0, -reach, reach)


def soft_round_conditional_mean(z: Tensor, alpha: float) -> Tensor:
    """The mean of ``y`` given ``z``, which is ``soft_round(y)`` and uniform noise of width one; like ``z``.

    Agustsson and Theis, Universally Quantized Neural Compression, NeurIPS 2020, section 4.2.
    """
    return soft_round_inverse(z - 0.5, alpha) + 0.5


def perturb_and_apply(
    f: Callable[..., Tensor], x: Tensor, *args: Any, u: Tensor | None = None, expected_grads: bool = True
) -> tuple[Tensor, Tensor]:
    """A function of each element (and of ``args``) under uniform noise ``u`` of width one, drawn if not given.

    Returns ``f(x + u, *args)`` and ``x + u``. With ``expected_grads`` the derivative of the first by ``x`` is that of
    its mean over the noise, ``f(x + 0.5) - f(x - 0.5)``, which is exact and steady; ``args`` get ordinary gradients.

    >>> x = torch.tensor([0.2, 7.5], requires_grad=True)
    >>> perturb_and_apply(torch.round, x)[0].sum().backward()
    >>> x.grad.tolist()
    [1.0, 1.0]
    """
    noisy = x + (torch.empty_like(x).uniform_(-0.5, 0.5) if u is None else u)
    if not (expected_grads and x.requires_grad):
        return f(noisy, *args), noisy
    with torch.no_grad():
        slope = f(x + 0.5, *args) - f(x - 0.5, *args)
    return f(noisy.detach(), *args) + slope * (x - x.detach()), noisy
