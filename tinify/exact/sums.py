"""Sums of products that are the same in whatever order they are added: of numbers rounded to integers, in float64.

A float64 holds every integer below 2^53. Inputs are rounded to integers of a step that follows their largest magnitude,
weights likewise for each output, with as many bits as leave sums below that. With 20 bits each, more or less, that is
about as fine as the float32 they come from.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tinify.errors import InputError
from tinify.exact.arithmetic import plain_arithmetic
from tinify.exact.entry import power_of_two
from tinify.exact.geometry import Geometry, Pad, block_diagonal, by_phases, by_taps, plain, transposed

_BITS = 52
"""Of the largest sum of magnitudes."""
_MANTISSA = 24
"""Bits of integers that float32 holds, as inputs are until they are gathered."""
_SMALLEST = -96
"""Exponent of numbers that count as zero beside it: powers of two stay normal numbers of float32."""


def convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    is_transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Tensor:
    """What ``aten::convolution`` computes of (batch, channels, height, width); steps are those of each batch item."""
    square = weight.shape[-1] == weight.shape[-2] and len(set(padding)) == len(set(dilation)) == dilation[0] == 1
    if x.ndim != 4 or len(set(stride)) > 1 or (is_transposed and not square):
        raise InputError(f"a convolution by {tuple(weight.shape)} with stride {list(stride)} has no reproducible form")
    each = not is_transposed and groups == x.shape[1] == len(weight) > 1
    weight = weight if each or groups == 1 else block_diagonal(weight, groups)
    bias = torch.zeros((), device=x.device) if bias is None else bias
    if not is_transposed:
        geometry = plain(weight.shape[2:], padding, stride[0], dilation, each)
        y = _convolve(x, by_taps(weight), bias, geometry, geometry.pad)
    else:
        geometry = transposed(weight.shape[2], stride[0], padding[0])
        taps = by_phases(weight, geometry, padding[0])
        height, width = (
            (x.shape[2 + side] - 1) * stride[0] - 2 * padding[0] + weight.shape[2] + output_padding[side]
            for side in (0, 1)
        )
        top, bottom, left, right = geometry.pad
        bottom, right = bottom - height // -stride[0] - x.shape[2], right - width // -stride[0] - x.shape[3]
        bias = bias.repeat_interleave(stride[0] ** 2) if bias.ndim else bias
        y = _convolve(x, taps, bias, geometry, (top, bottom, left, right))[:, :, :height, :width]
    return y.contiguous() if x.is_contiguous() else y


def mm(a: Tensor, b: Tensor) -> Tensor:
    """The product of matrices, or of batches of them; steps are those of each row and of each column."""
    return _product(a, b).to(a.dtype)


def addmm(start: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """The product of matrices, or of batches of them, times ``alpha``, and ``start`` times ``beta``."""
    return (_product(a, b) * alpha + start.double() * beta).to(a.dtype)


def total(x: Tensor, dim: Sequence[int] | None = None, keepdim: bool = False, **options: torch.dtype) -> Tensor:
    """The sum over dimensions, all without any: by halves, so that each number has its place in it."""
    return _halved(x, dim, keepdim)[0].to(options.get("dtype") or x.dtype)


def mean(x: Tensor, dim: Sequence[int] | None = None, keepdim: bool = False, **options: torch.dtype) -> Tensor:
    """The mean over dimensions, all without any."""
    summed, count = _halved(x, dim, keepdim)
    return (summed / torch.full_like(summed, count)).to(options.get("dtype") or x.dtype)


def _convolve(x: Tensor, taps: Tensor, bias: Tensor, geometry: Geometry, pad: Pad) -> Tensor:
    inputs, weights = _share_of_bits(taps.shape[0] * taps.shape[1])
    a, step = _integers(x, (1, 2, 3), inputs)
    weight, grain = _integers(taps, (0, 1), weights)
    weight, scale, bias = weight.double(), step * grain, bias.double()

    def sums(seen: list[Tensor]) -> Tensor:
        if geometry.each:
            made = torch.zeros_like(seen[0], dtype=torch.float64)
            for one, factor in zip(seen, weight, strict=True):
                made += one.double() * factor
        else:
            rows = torch.cat(seen, 3) if len(seen) > 1 else seen[0]
            with plain_arithmetic(rows.device):
                made = torch.mm(rows.reshape(-1, rows.shape[3]).double(), weight.flatten(0, 1))
            made = made.reshape(*rows.shape[:3], -1)
        return made.mul_(scale).add_(bias).float()

    return geometry.convolve(a.permute(0, 2, 3, 1).contiguous(), pad, taps.shape[2], sums)


def _product(a: Tensor, b: Tensor) -> Tensor:
    inputs, weights = _share_of_bits(a.shape[-1])
    left, step = _integers(a, (-1,), inputs)
    right, grain = _integers(b, (-2,), weights)
    with plain_arithmetic(a.device):
        return torch.matmul(left.double(), right.double()) * (step * grain)


def _share_of_bits(products: int) -> tuple[int, int]:
    """Bits of inputs and of weights, so that a sum of so many products keeps within its own."""
    spare = _BITS - (products - 1).bit_length()
    inputs = min(_MANTISSA, (spare + 1) // 2)
    return inputs, spare - inputs


def _integers(x: Tensor, dims: tuple[int, ...], bits: int) -> tuple[Tensor, Tensor]:
    """``x`` rounded to integers of at most ``2**bits`` of one step along ``dims``, and that step, float64.

    Where anything is infinite or no number, the step is no number, and so is all that comes of it.
    """
    if x.dtype != torch.float32:
        raise InputError(f"a sum of products of {x.dtype} has no reproducible form: expected torch.float32")
    peak = x.abs().amax(dims, keepdim=True)
    finite = torch.isfinite(peak)
    exponent = torch.frexp(torch.where(finite, peak, 0)).exponent.clamp(min=_SMALLEST)
    a = torch.where(finite, x, 0).mul_(power_of_two(bits - exponent)).round_()
    return a, torch.where(finite, power_of_two(exponent - bits).double(), torch.nan)


def _halved(x: Tensor, dim: Sequence[int] | None, keepdim: bool) -> tuple[Tensor, int]:
    """Sums over dimensions, float64, and of how many numbers each is."""
    dims = sorted({one % x.ndim for one in dim}) if dim else list(range(x.ndim))
    rest = [one for one in range(x.ndim) if one not in dims]
    shape = [x.shape[one] for one in rest]
    a = x.double().permute(*rest, *dims).reshape(*shape, -1)
    count = a.shape[-1]
    while a.shape[-1] > 1:
        a = torch.nn.functional.pad(a, (0, a.shape[-1] % 2))
        a = a[..., 0::2] + a[..., 1::2]
    kept = [1 if one in dims else x.shape[one] for one in range(x.ndim)]
    return a.reshape(kept if keepdim else shape), count
