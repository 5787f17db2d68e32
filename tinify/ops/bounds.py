"""Bounds whose gradients lead back into them, and parameters that stay above one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class _LowerBound(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bound: Tensor) -> Tensor:
        ctx.save_for_backward(x, bound)
        return torch.max(x, bound)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (grad,) = grads
        x, bound = ctx.saved_tensors
        return grad * ((x >= bound) | (grad < 0)), None


class LowerBound(nn.Module):
    """``max(x, bound)`` whose gradient also passes below the bound when a descent step would raise ``x``.

    Without that exception a value that once fell below the bound would stay there for ever.
    Ballé et al., Variational Image Compression with a Scale Hyperprior, ICLR 2018, appendix.

    >>> LowerBound(0.5)(torch.tensor([0.0, 1.0])).tolist()
    [0.5, 1.0]
    """

    def __init__(self, bound: float) -> None:
        super().__init__()
        self.bound: Tensor  # not on the class, where torch.jit cannot read it
        self.register_buffer("bound", torch.tensor([float(bound)]))

    def forward(self, x: Tensor) -> Tensor:
        if torch.jit.is_scripting():  # type: ignore[attr-defined]
            # It knows no autograd functions of Python.
            return torch.max(x, self.bound.to(x.dtype))
        return self._apply_bound(x)

    @torch.jit.unused
    def _apply_bound(self, x: Tensor) -> Tensor:
        bounded: Tensor = _LowerBound.apply(x, self.bound.to(x.dtype))  # type: ignore[no-untyped-call]
        return bounded


class NonNegativeParametrizer(nn.Module):
    """Maps a free parameter ``p`` to ``max(p, b)**2 - pedestal``, which is at least ``minimum``.

    ``init`` is the inverse: the stored parameter for a wanted value. The pedestal (``reparam_offset**2``) keeps
    gradients alive near zero.
    Ballé et al., Density Modeling of Images using a Generalized Normalization Transformation, ICLR 2016, appendix.

    >>> p = NonNegativeParametrizer()
    >>> bool(torch.isclose(p(p.init(torch.tensor(0.1))), torch.tensor(0.1)))
    True
    """

    pedestal: Tensor

    def __init__(self, minimum: float = 0.0, reparam_offset: float = 2**-18) -> None:
        super().__init__()
        self.minimum = float(minimum)
        self.reparam_offset = float(reparam_offset)
        pedestal = self.reparam_offset**2
        self.register_buffer("pedestal", torch.tensor([pedestal]))
        self.lower_bound = LowerBound((self.minimum + pedestal) ** 0.5)

    def init(self, x: Tensor) -> Tensor:
        """The stored parameter whose value is ``x``."""
        return torch.sqrt(torch.max(x + self.pedestal, self.pedestal)).reshape(x.shape)

    def forward(self, x: Tensor) -> Tensor:
        bounded: Tensor = self.lower_bound(x)
        return bounded**2 - self.pedestal


def lower_bound(x: Tensor, bound: Tensor | float) -> Tensor:
    """``max(x, bound)`` with the gradient of :class:`LowerBound`; ``bound`` broadcasts against ``x``."""
    bounded: Tensor = _LowerBound.apply(x, torch.as_tensor(bound, dtype=x.dtype, device=x.device))  # type: ignore[no-untyped-call]
    return bounded


def upper_bound(x: Tensor, bound: Tensor | float) -> Tensor:
    """``min(x, bound)`` whose gradient also passes above the bound when a descent step would lower ``x``."""
    return -lower_bound(-x, -torch.as_tensor(bound, dtype=x.dtype, device=x.device))
