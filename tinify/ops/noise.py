"""The noise that stands for rounding while a model is trained."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tinify.ops.operator import gradient, operator


@operator("add_noise(Tensor x) -> Tensor", fake=torch.empty_like, random=True)
def add_noise(x: Tensor) -> Tensor:
    """``x`` plus uniform noise from -0.5 to 0.5, drawn by torch's generator; the gradient is that of the identity.

    Returns a tensor like ``x``. Ballé et al., End-to-end Optimized Image Compression, ICLR 2017, section 3.

    >>> bool((add_noise(torch.zeros(8)).abs() <= 0.5).all())
    True
    """
    return x + torch.empty_like(x).uniform_(-0.5, 0.5)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    pass


def _backward(ctx: Any, grad: Tensor) -> Tensor:
    return grad


gradient("add_noise", _setup, _backward)
