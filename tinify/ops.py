"""Plain PyTorch definitions of the small operations that the layers and entropy models are made of.

Papers' letters: ``x`` picture, ``y`` latent, ``z`` hyper-latent, ``*_hat`` what the decoder sees; axes are batch,
channel, height, width.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tinify.errors import InputError

Op = TypeVar("Op", bound=Callable[..., Any])
_IDENTITY = 1e-3  # a soft rounding so soft that it is none


def quantize_ste(x: Tensor) -> Tensor:
    """``x`` rounded (half to even), with the gradient of the identity: the straight-through estimator.

    Returns a tensor like ``x``. Bengio et al., Estimating or Propagating Gradients Through Stochastic Neurons, 2013.

    >>> quantize_ste(torch.tensor([0.4, 1.6])).tolist()
    [0.0, 2.0]
    """
    return (torch.round(x) - x).detach() + x


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


def round_st(x: Tensor, offset: Tensor | float | None = None) -> Tensor:
    """The nearest of the integers shifted by ``offset``, with the gradient of the identity to ``x`` and none to it.

    Returns a tensor like ``x``.

    >>> round_st(torch.tensor([0.4, 1.6]), 0.25).tolist()
    [0.25, 1.25]
    """
    rounded = torch.round(x) if offset is None else torch.round(x - offset) + offset
    return x + (rounded - x).detach() if x.requires_grad else rounded


def lower_bound(x: Tensor, bound: Tensor | float) -> Tensor:
    """``max(x, bound)`` with the gradient of :class:`LowerBound`; ``bound`` broadcasts against ``x``."""
    bounded: Tensor = _LowerBound.apply(x, torch.as_tensor(bound, dtype=x.dtype, device=x.device))  # type: ignore[no-untyped-call]
    return bounded


def upper_bound(x: Tensor, bound: Tensor | float) -> Tensor:
    """``min(x, bound)`` whose gradient also passes above the bound when a descent step would lower ``x``."""
    return -lower_bound(-x, -torch.as_tensor(bound, dtype=x.dtype, device=x.device))


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


def gdn(x: Tensor, beta: Tensor, gamma: Tensor, *, inverse: bool = False) -> Tensor:
    """Generalised divisive normalisation: ``x / sqrt(beta + gamma @ x**2)`` over channels.

    The inverse is ``x * sqrt(...)``. ``x`` is (batch, C, height, width), ``beta`` (C,), ``gamma`` (C, C) with a row
    for each output channel; returns a tensor like ``x``.
    Ballé et al., Density Modeling of Images using a Generalized Normalization Transformation, ICLR 2016.
    """
    norm = F.conv2d(x * x, gamma[:, :, None, None], beta)
    if norm.requires_grad or norm.dtype != x.dtype:
        return x * torch.sqrt(norm) if inverse else x * torch.rsqrt(norm)
    return (norm.sqrt_() if inverse else norm.rsqrt_()).mul_(x)  # fresh memory costs as much as the arithmetic


def gdn1(x: Tensor, beta: Tensor, gamma: Tensor, *, inverse: bool = False) -> Tensor:
    """Divisive normalisation by absolute values: ``x / (beta + gamma @ |x|)`` over channels.

    The inverse is ``x * (...)``; arguments and result are those of :func:`gdn`.
    Johnston et al., Computationally Efficient Neural Image Compression, 2019, arXiv:1912.08771.
    """
    norm = F.conv2d(torch.abs(x), gamma[:, :, None, None], beta)
    return x * norm if inverse else x / norm


def residual(branch: Tensor, x: Tensor) -> Tensor:
    """``branch + x``, in the memory of ``branch`` where no gradient will ask for it: nobody else may hold it."""
    return branch + x if branch.requires_grad or branch.dtype != x.dtype else branch.add_(x)


_library = torch.library.Library("tinify", "FRAGMENT")  # type: ignore[no-untyped-call]


def _operator(schema: str) -> Callable[[Op], Op]:
    """Makes a definition an operator of torch, in whose place kernels may come.

    ``torch.library.custom_op`` would do the same, and import half of torch's compiler at the first call.
    """

    def made(definition: Op) -> Op:
        name = _library.define(schema).partition("(")[0].rpartition("::")[2]  # type: ignore[no-untyped-call]
        _library.impl(name, definition, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
        operator = getattr(torch.ops.tinify, name).default

        @wraps(definition)
        def call(*arguments: Any) -> Any:
            return operator(*arguments)

        return cast(Op, call)

    return made


@_operator("scale_indexes(Tensor scales, Tensor table) -> Tensor")
def scale_indexes(scales: Tensor, table: Tensor) -> Tensor:
    """The row of a scale table for every scale: how many entries but the last lie strictly below it.

    ``table`` rises. Returns int32 of the shape of ``scales``.

    >>> scale_indexes(torch.tensor([0.5, 1.0, 1.5, 9.0]), torch.tensor([1.0, 2.0, 4.0])).tolist()
    [0, 0, 1, 2]
    """
    return torch.bucketize(scales.contiguous(), table[:-1], out_int32=True)


@torch.library.register_fake("tinify::scale_indexes")  # type: ignore[untyped-decorator]
def _(scales: Tensor, table: Tensor) -> Tensor:
    return torch.empty_like(scales, dtype=torch.int32, memory_format=torch.contiguous_format)


Padding = tuple[int, int, int, int]


def compute_padding(
    in_h: int, in_w: int, *, out_h: int | None = None, out_w: int | None = None, min_div: int = 1
) -> tuple[Padding, Padding]:
    """Centred padding to a multiple of ``min_div`` (or to ``out_h`` x ``out_w``), and its undoing.

    Returns two tuples (left, right, top, bottom) for ``torch.nn.functional.pad``; the second negates the first.

    >>> compute_padding(5, 8, min_div=4)
    ((0, 0, 1, 2), (0, 0, -1, -2))
    """
    out_h = -(-in_h // min_div) * min_div if out_h is None else out_h
    out_w = -(-in_w // min_div) * min_div if out_w is None else out_w
    if out_h % min_div or out_w % min_div or out_h < in_h or out_w < in_w:
        raise InputError(
            f"cannot pad {in_h}x{in_w} to {out_h}x{out_w}: the target must be a multiple of {min_div} and no smaller"
        )
    top, left = (out_h - in_h) // 2, (out_w - in_w) // 2
    pad = (left, out_w - in_w - left, top, out_h - in_h - top)
    return pad, (-pad[0], -pad[1], -pad[2], -pad[3])
