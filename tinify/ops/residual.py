"""The sum at the end of a residual block."""

from __future__ import annotations

from torch import Tensor


def residual(branch: Tensor, x: Tensor) -> Tensor:
    """``branch + x``, in the memory of ``branch`` where no gradient will ask for it: nobody else may hold it."""
    return branch + x if branch.requires_grad or branch.dtype != x.dtype else branch.add_(x)
