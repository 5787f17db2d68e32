"""The small steps of training and coding Gaussians, each in one pass over the latent."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from tinify import ops

from .launch import blocks, dense, device_of, instead_of

_BLOCK = 1024


@instead_of(ops.gaussian_likelihood)
def gaussian_likelihood(y: Tensor, scales: Tensor, means: Tensor | None) -> Tensor:
    y, scales, means = _laid_alike(y, scales, means)
    out = torch.empty_like(y)
    if y.numel():
        with device_of(y):
            _likelihood[blocks(y.numel(), _BLOCK),](
                y, scales, y if means is None else means, out, y.numel(), MEANS=means is not None, BLOCK=_BLOCK
            )
    return out


@instead_of(ops.gaussian_likelihood_backward)
def gaussian_likelihood_backward(
    grad: Tensor, y: Tensor, scales: Tensor, means: Tensor | None
) -> tuple[Tensor, Tensor]:
    y, scales, means = _laid_alike(y, scales, means)
    grad = torch.empty_like(y).copy_(grad)
    of_y, of_scales = torch.empty_like(y), torch.empty_like(scales)
    if y.numel():
        with device_of(y):
            _likelihood_backward[blocks(y.numel(), _BLOCK),](
                grad, y, scales, y if means is None else means, of_y, of_scales, y.numel(),
                MEANS=means is not None, BLOCK=_BLOCK,
            )  # fmt: skip
    return of_y, of_scales


@instead_of(ops.quantize_indexes)
def quantize_indexes(
    y: Tensor, scales: Tensor, means: Tensor | None, bound: Tensor, table: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    y, scales, means = _laid_alike(y, scales, means)
    symbols, indexes = torch.empty_like(y, dtype=torch.int32), torch.empty_like(y, dtype=torch.int32)
    y_hat = torch.empty_like(y)
    if y.numel():
        with device_of(y):
            _quantize[blocks(y.numel(), _BLOCK),](
                y, scales, y if means is None else means, bound, table.contiguous(), symbols, indexes, y_hat, y.numel(),
                ENTRIES=len(table), MEANS=means is not None, BLOCK=_BLOCK,
            )  # fmt: skip
    return symbols, indexes, y_hat


@instead_of(ops.scale_indexes)
def scale_indexes(scales: Tensor, table: Tensor) -> Tensor:
    scales = scales.contiguous()
    indexes = torch.empty_like(scales, dtype=torch.int32)
    if scales.numel():
        with device_of(scales):
            _find[blocks(scales.numel(), _BLOCK),](
                scales, table.contiguous(), indexes, scales.numel(), ENTRIES=len(table), BLOCK=_BLOCK
            )
    return indexes


@instead_of(ops.add_noise)
def add_noise(x: Tensor) -> Tensor:
    x = dense(x)
    out, seed = torch.empty_like(x), torch.randint(2**62, (), device=x.device)
    if x.numel():
        with device_of(x):
            _add_noise[blocks(x.numel(), _BLOCK),](x, seed, out, x.numel(), BLOCK=_BLOCK)
    return out


def _laid_alike(y: Tensor, *others: Any) -> Any:
    """All in the memory order of the first, without gaps, so that elements meet at the same place."""
    first = dense(y)
    laid = [
        one if one is None or one.stride() == first.stride() else torch.empty_like(first, dtype=one.dtype).copy_(one)
        for one in others
    ]
    return first, *laid


@triton.jit
def _erfc(x):
    """The complementary error function to about float32's precision, relative in the tail too.

    Press et al., Numerical Recipes, 3rd edition, section 6.2.2: erfccheb in its shorter form, of ten coefficients.
    """
    z = tl.abs(x)
    t = 1.0 / (1.0 + 0.5 * z)
    p = -0.82215223 + t * 0.17087277
    p = 1.48851587 + t * p
    p = -1.13520398 + t * p
    p = 0.27886807 + t * p
    p = -0.18628806 + t * p
    p = 0.09678418 + t * p
    p = 0.37409196 + t * p
    p = 1.00002368 + t * p
    found = t * tl.exp(-z * z - 1.26551223 + t * p)
    return tl.where(x >= 0, found, 2.0 - found)


@triton.jit
def _edges(y, means, scales, at, there, MEANS: tl.constexpr):
    """The offset of ``y`` from its mean, its scale, and the edges of its interval in units of the scale."""
    offset = tl.load(y + at, mask=there, other=0.0).to(tl.float32)
    if MEANS:
        offset -= tl.load(means + at, mask=there, other=0.0).to(tl.float32)
    scale = tl.load(scales + at, mask=there, other=1.0).to(tl.float32)
    return offset, scale, (0.5 - tl.abs(offset)) / scale, (-0.5 - tl.abs(offset)) / scale


@triton.jit
def _likelihood(y, scales, means, out, count, MEANS: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    there = at < count
    _, _, upper, lower = _edges(y, means, scales, at, there, MEANS)
    root: tl.constexpr = -0.7071067811865476
    mass = 0.5 * _erfc(upper * root) - 0.5 * _erfc(lower * root)
    tl.store(out + at, mass.to(out.dtype.element_ty), mask=there)


@triton.jit
def _likelihood_backward(grad, y, scales, means, of_y, of_scales, count, MEANS: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    there = at < count
    offset, scale, upper, lower = _edges(y, means, scales, at, there, MEANS)
    unit: tl.constexpr = 0.3989422804014327
    at_upper, at_lower = unit * tl.exp(-0.5 * upper * upper), unit * tl.exp(-0.5 * lower * lower)
    by = tl.load(grad + at, mask=there, other=0.0).to(tl.float32) / scale
    sign = tl.where(offset > 0, 1.0, tl.where(offset < 0, -1.0, 0.0))
    tl.store(of_y + at, (by * (at_lower - at_upper) * sign).to(of_y.dtype.element_ty), mask=there)
    slope = by * (lower * at_lower - upper * at_upper)
    tl.store(of_scales + at, slope.to(of_scales.dtype.element_ty), mask=there)


@triton.jit
def _row(scale, table, ENTRIES: tl.constexpr):
    """How many entries but the last lie below the scale, or all of these if it is no number."""
    found = tl.zeros(scale.shape, tl.int32)
    for entry in range(0, ENTRIES - 1):
        found += tl.where(scale <= tl.load(table + entry), 0, 1)
    return found


@triton.jit
def _quantize(
    y, scales, means, bound, table, symbols, indexes, y_hat, count,
    ENTRIES: tl.constexpr, MEANS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    there = at < count
    value = tl.load(y + at, mask=there, other=0.0).to(tl.float32)
    mean = tl.load(means + at, mask=there, other=0.0).to(tl.float32) if MEANS else 0.0
    offset = value - mean
    # Half to even: the sum with 1.5 * 2^23 has no fraction left, for offsets below 2^22; larger ones hardly have one.
    small = tl.abs(offset) < 4194304.0
    rounded = tl.where(small, (offset + 12582912.0) - 12582912.0, tl.floor(offset + 0.5))
    tl.store(symbols + at, rounded.to(tl.int32), mask=there)
    tl.store(y_hat + at, (rounded + mean).to(y_hat.dtype.element_ty), mask=there)
    scale, least = tl.load(scales + at, mask=there, other=1.0), tl.load(bound).to(scales.dtype.element_ty)
    tl.store(indexes + at, _row(tl.where(scale < least, least, scale), table, ENTRIES), mask=there)


@triton.jit
def _find(scales, table, indexes, count, ENTRIES: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    scale = tl.load(scales + at, mask=at < count, other=1.0)
    tl.store(indexes + at, _row(scale, table, ENTRIES), mask=at < count)


@triton.jit
def _add_noise(x, seed, out, count, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    drawn = tl.rand(tl.load(seed), tl.program_id(0) * BLOCK + tl.arange(0, BLOCK))
    value = tl.load(x + at, mask=at < count, other=0.0).to(tl.float32) + (drawn - 0.5)
    tl.store(out + at, value.to(out.dtype.element_ty), mask=at < count)
