"""Convolutions that see some of their taps only: what a decoder has already."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import unwrap
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tinify.ops.operator import gradient, operator


def _like(x: Tensor, weight: Tensor, bias: Tensor | None, taps: Sequence[int], padding: Sequence[int]) -> Tensor:
    height, width = (x.shape[2 + side] + 2 * padding[side] - weight.shape[2 + side] + 1 for side in (0, 1))
    return x.new_empty((x.shape[0], weight.shape[0], height, width))


@operator(
    "masked_conv2d(Tensor x, Tensor weight, Tensor? bias, int[] taps, int[2] padding) -> Tensor",
    fake=_like,
    autocast=True,
)
def masked_conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None, taps: Sequence[int], padding: Sequence[int]
) -> Tensor:
    """A convolution by some taps of its kernel, those at ``taps`` of the raster; the weights of the others never count.

    ``x`` is (batch, channels, height, width), ``weight`` that of ``torch.nn.functional.conv2d``; so is the result.
    Strides and dilations are 1.

    >>> x = torch.arange(4.0).reshape(1, 1, 1, 4)
    >>> masked_conv2d(x, torch.ones(1, 1, 1, 3), None, [0], [0, 1]).flatten().tolist()
    [0.0, 0.0, 1.0, 2.0]
    """
    return F.conv2d(x, _masked(weight, taps), bias, padding=tuple(padding))


@operator(
    "masked_conv2d_backward(Tensor grad, Tensor x, Tensor weight, int[] taps, int[2] padding)"
    " -> (Tensor, Tensor, Tensor)",
    fake=lambda grad, x, weight, taps, padding: (
        torch.empty_like(x), torch.empty_like(weight), weight.new_empty(weight.shape[:1])
    ),
)  # fmt: skip
def masked_conv2d_backward(
    grad: Tensor, x: Tensor, weight: Tensor, taps: Sequence[int], padding: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of ``x``, ``weight`` and ``bias`` from that of :func:`masked_conv2d`'s result."""
    seen = _masked(weight, taps).to(x.dtype)
    grad = grad.to(x.dtype)
    of_x, of_weight, of_bias = torch.ops.aten.convolution_backward(
        grad, x, seen, [len(seen)], [1, 1], list(padding), [1, 1], False, [0, 0], 1, [True, True, True]
    )
    return of_x, _masked(of_weight, taps).to(weight.dtype), of_bias.to(weight.dtype)


def _masked(weight: Tensor, taps: Sequence[int]) -> Tensor:
    place = torch.arange(weight.shape[2] * weight.shape[3], device=weight.device).reshape(weight.shape[2:])
    seen = torch.isin(place, torch.tensor(list(taps), device=weight.device))
    return torch.where(seen, weight, 0)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, _, ctx.taps, ctx.padding = inputs
    ctx.save_for_backward(x, weight)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    plain: Any = unwrap(masked_conv2d_backward) if torch.is_grad_enabled() else masked_conv2d_backward
    return (*plain(grad, *ctx.saved_tensors, ctx.taps, ctx.padding), None, None)


gradient("masked_conv2d", _setup, _backward)


@operator(
    "conv_at(Tensor x, Tensor weight, Tensor? bias, int[] taps, int[2] padding, Tensor rows, Tensor columns) -> Tensor",
    fake=lambda x, weight, bias, taps, padding, rows, columns: x.new_empty(
        (x.shape[0], weight.shape[0], rows.shape[0])
    ),
)
def conv_at(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    taps: Sequence[int],
    padding: Sequence[int],
    rows: Tensor,
    columns: Tensor,
) -> Tensor:
    """What :func:`masked_conv2d` gives at some positions alone: one wavefront of a raster scan, or one colour.

    ``rows`` and ``columns`` are those of the positions, of integers; returns (batch, outputs, positions). It has no
    gradient: it is for decoding.

    >>> x = torch.arange(4.0).reshape(1, 1, 1, 4)
    >>> at = torch.tensor([0, 0]), torch.tensor([3, 1])
    >>> conv_at(x, torch.ones(1, 1, 1, 3), None, [0], [0, 1], *at).flatten().tolist()
    [2.0, 0.0]
    """
    height, width = weight.shape[2:]
    around = F.pad(x, (padding[1], padding[1], padding[0], padding[0]))
    down, across = (torch.arange(size, device=x.device) for size in (height, width))
    seen = around[:, :, rows[:, None, None] + down[:, None], columns[:, None, None] + across]
    out = torch.einsum("bcnij,ocij->bon", seen, _masked(weight, taps).to(x.dtype))
    return (out if bias is None else out + bias[:, None]).contiguous()
