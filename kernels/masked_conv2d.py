"""Convolutions by some of their taps, as one product of matrices: positions by (taps, channels).

Only the taps that count are read and multiplied: 12 of the 25 of a causal 5x5 kernel. The gradient of ``x`` is the same
product with the taps turned about; that of the weights sums over positions, a tap at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from tinify import ops

from .launch import INTERPRETED, blocks, device_of, index_type, instead_of, planes

_PARTS = 32


@instead_of(ops.masked_conv2d)
def masked_conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None, taps: Sequence[int], padding: Sequence[int]
) -> Tensor:
    shape = [x.shape[2 + side] + 2 * padding[side] - weight.shape[2 + side] + 1 for side in (0, 1)]
    rows, columns = _places(weight, taps)
    packed = weight.flatten(2)[:, :, list(taps)].permute(2, 1, 0).contiguous()  # tap, input, output
    return _product(planes(x), packed, bias, rows - padding[0], columns - padding[1], shape)


@instead_of(ops.masked_conv2d_backward)
def masked_conv2d_backward(
    grad: Tensor, x: Tensor, weight: Tensor, taps: Sequence[int], padding: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    x, grad = planes(x), planes(grad.to(x.dtype))
    rows, columns = _places(weight, taps)
    rows, columns = rows - padding[0], columns - padding[1]
    turned = weight.flatten(2)[:, :, list(taps)].permute(2, 0, 1).contiguous()  # tap, output, input
    of_x = _product(grad, turned, None, -rows, -columns, list(x.shape[2:]))
    of_weight = torch.zeros_like(weight, memory_format=torch.contiguous_format)
    of_weight.flatten(2)[:, :, list(taps)] = _correlation(grad, x, rows, columns).permute(1, 2, 0).to(weight.dtype)
    return of_x, of_weight, grad.sum((0, 2, 3), dtype=torch.float32).to(weight.dtype)


def _places(weight: Tensor, taps: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Row and column of every tap, int32."""
    place = torch.tensor(list(taps), dtype=torch.int32)
    width = weight.shape[3]
    return (place // width).to(weight.device), (place % width).to(weight.device)


@instead_of(ops.conv_at)
def conv_at(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    taps: Sequence[int],
    padding: Sequence[int],
    rows: Tensor,
    columns: Tensor,
) -> Tensor:
    down, across = _places(weight, taps)
    packed = weight.flatten(2)[:, :, list(taps)].permute(2, 1, 0).contiguous()
    at = rows.to(torch.int32).contiguous(), columns.to(torch.int32).contiguous()
    return _product(planes(x), packed, bias, down - padding[0], across - padding[1], [1, len(rows)], at)[:, :, 0]


def _product(
    x: Tensor,
    packed: Tensor,
    bias: Tensor | None,
    down: Tensor,
    across: Tensor,
    shape: Sequence[int],
    at: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Every output position, or those ``at``: the sum over taps of ``x``, moved by ``down`` and ``across``, by weights.

    ``packed`` is (tap, input, output).
    """
    count, inputs, outputs = packed.shape
    out = x.new_empty((x.shape[0], outputs, *shape))
    if at is None and not x.is_contiguous():
        out = out.to(memory_format=torch.channels_last)
    positions = shape[0] * shape[1]
    wide, deep = min(128, max(16, triton.next_power_of_2(outputs))), min(64, max(16, triton.next_power_of_2(inputs)))
    tall = 16 if x.shape[0] * positions <= 64 else 64 if x.dtype == torch.float32 else 128
    if out.numel():
        with device_of(x):
            _multiply[blocks(x.shape[0] * positions, tall), blocks(outputs, wide)](
                x, packed, x if bias is None else bias, down, across, *(at or (down, across)), out,
                *x.shape[2:], *x.stride(), positions, shape[1], x.shape[0] * positions,
                *out.stride()[:2], out.stride(3),
                TAPS=count, INPUTS=inputs, OUTPUTS=outputs, BIAS=bias is not None, LISTED=at is not None,
                TALL=tall, WIDE=wide, DEEP=deep, **_operands(x, out), num_warps=8 if tall > 16 else 4,
            )  # fmt: skip
    return out


def _correlation(grad: Tensor, x: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """The sums over positions of ``grad`` by ``x`` moved by each tap, (tap, output, input), float32."""
    count, inputs, outputs = len(down), x.shape[1], grad.shape[1]
    positions = grad.shape[2] * grad.shape[3]
    places, tile, block = x.shape[0] * positions, 64, 64
    programs = count * blocks(outputs, block) * blocks(inputs, block)
    parts = max(1, min(_PARTS, 1024 // max(1, programs), blocks(places, tile)))
    sums = x.new_zeros((parts, count, outputs, inputs), dtype=torch.float32)
    if places and sums.numel():
        with device_of(x):
            _correlate[programs // count, count, parts](
                grad, x, down, across, sums, *x.shape[2:], *x.stride(), positions, grad.shape[3], places,
                *grad.stride()[:2], grad.stride(3),
                INPUTS=inputs, OUTPUTS=outputs, BLOCK=block, TILE=tile, **_operands(x, grad),
            )  # fmt: skip
    return sums.sum(0)


def _operands(*tensors: Tensor) -> dict[str, Any]:
    """As what matrices are multiplied, with sums of float32 throughout; and the type of places in memory."""
    x = tensors[0]
    half = x.dtype in (torch.float16, torch.bfloat16) and not INTERPRETED
    kind = {torch.float16: tl.float16, torch.bfloat16: tl.bfloat16}[x.dtype] if half else tl.float32
    return {"OPERAND": kind, "PRECISION": "tf32x3", "INDEX": index_type(max(tensors, key=Tensor.numel))}


@triton.jit
def _multiply(
    x, packed, bias, down, across, at_rows, at_columns, out,
    height, width, from_item, from_channel, from_row, from_column, positions, out_width, places,
    out_item, out_channel, out_position,
    TAPS: tl.constexpr, INPUTS: tl.constexpr, OUTPUTS: tl.constexpr, BIAS: tl.constexpr, LISTED: tl.constexpr,
    TALL: tl.constexpr, WIDE: tl.constexpr, DEEP: tl.constexpr,
    OPERAND: tl.constexpr, PRECISION: tl.constexpr, INDEX: tl.constexpr,
):  # fmt: skip
    place = tl.program_id(0) * TALL + tl.arange(0, TALL)
    valid = place < places
    item, position = (place // positions).to(INDEX), place % positions
    if LISTED:
        row, column = tl.load(at_rows + position, mask=valid), tl.load(at_columns + position, mask=valid)
    else:
        row, column = position // out_width, position % out_width
    outs = tl.program_id(1) * WIDE + tl.arange(0, WIDE)
    slices: tl.constexpr = (INPUTS + DEEP - 1) // DEEP
    total = tl.zeros([TALL, WIDE], tl.float32)
    for step in range(0, TAPS * slices):
        tap = step // slices
        channels = (step % slices) * DEEP + tl.arange(0, DEEP)
        to_row, to_column = row + tl.load(down + tap), column + tl.load(across + tap)
        inside = valid & (to_row >= 0) & (to_row < height) & (to_column >= 0) & (to_column < width)
        start = item * from_item + to_row.to(INDEX) * from_row + to_column * from_column
        seen = tl.load(
            x + start[:, None] + channels.to(INDEX)[None, :] * from_channel,
            mask=inside[:, None] & (channels < INPUTS)[None, :], other=0.0,
        )  # fmt: skip
        weights = tl.load(
            packed + (tap * INPUTS + channels)[:, None] * OUTPUTS + outs[None, :],
            mask=(channels < INPUTS)[:, None] & (outs < OUTPUTS)[None, :], other=0.0,
        )  # fmt: skip
        total = tl.dot(seen.to(OPERAND), weights.to(OPERAND), total, input_precision=PRECISION)
    if BIAS:
        total += tl.load(bias + outs, mask=outs < OUTPUTS, other=0.0).to(tl.float32)[None, :]
    to = item * out_item + position.to(INDEX) * out_position
    tl.store(
        out + to[:, None] + outs.to(INDEX)[None, :] * out_channel,
        total.to(out.dtype.element_ty), mask=valid[:, None] & (outs < OUTPUTS)[None, :],
    )  # fmt: skip


@triton.jit
def _correlate(
    grad, x, down, across, sums,
    height, width, from_item, from_channel, from_row, from_column, positions, out_width, places,
    out_item, out_channel, out_position,
    INPUTS: tl.constexpr, OUTPUTS: tl.constexpr, BLOCK: tl.constexpr, TILE: tl.constexpr,
    OPERAND: tl.constexpr, PRECISION: tl.constexpr, INDEX: tl.constexpr,
):  # fmt: skip
    across_inputs: tl.constexpr = (INPUTS + BLOCK - 1) // BLOCK
    outs = (tl.program_id(0) // across_inputs) * BLOCK + tl.arange(0, BLOCK)
    ins = (tl.program_id(0) % across_inputs) * BLOCK + tl.arange(0, BLOCK)
    tap, part, parts = tl.program_id(1), tl.program_id(2), tl.num_programs(2)
    by_row, by_column = tl.load(down + tap), tl.load(across + tap)
    total = tl.zeros([BLOCK, BLOCK], tl.float32)
    for begin in range(part * TILE, places, parts * TILE):
        place = begin + tl.arange(0, TILE)
        valid = place < places
        item, position = (place // positions).to(INDEX), place % positions
        change = tl.load(
            grad + (item * out_item + position.to(INDEX) * out_position)[None, :]
            + outs.to(INDEX)[:, None] * out_channel,
            mask=valid[None, :] & (outs < OUTPUTS)[:, None], other=0.0,
        )  # fmt: skip
        row, column = position // out_width + by_row, position % out_width + by_column
        inside = valid & (row >= 0) & (row < height) & (column >= 0) & (column < width)
        start = item * from_item + row.to(INDEX) * from_row + column * from_column
        seen = tl.load(
            x + start[:, None] + ins.to(INDEX)[None, :] * from_channel,
            mask=inside[:, None] & (ins < INPUTS)[None, :], other=0.0,
        )  # fmt: skip
        total = tl.dot(change.to(OPERAND), seen.to(OPERAND), total, input_precision=PRECISION)
    tl.store(
        sums + ((part * tl.num_programs(1) + tap) * OUTPUTS + outs)[:, None] * INPUTS + ins[None, :],
        total, mask=(outs < OUTPUTS)[:, None] & (ins < INPUTS)[None, :],
    )  # fmt: skip
