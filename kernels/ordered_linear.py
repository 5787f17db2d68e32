"""Products of matrices by chains of fused multiply-adds: the bits of the compiled context model of a CPU.

A few rows by some hundred outputs: every program keeps its sums in registers and walks along the inputs. It is the
latency of the chains that counts, not their number, so many small programs do better than few large ones.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from tinify import ops

from .launch import blocks, device_of, instead_of

_ROWS, _COLUMNS, _AHEAD = 16, 16, 8


@instead_of(ops.ordered_linear)
def ordered_linear(x: Tensor, weight: Tensor, start: Tensor, slope: float) -> Tensor:
    x, weight, start = x.contiguous(), weight.contiguous(), start.contiguous()
    rows, inputs, outputs = *x.shape, weight.shape[1]
    out = torch.empty((rows, outputs), dtype=x.dtype, device=x.device)
    if out.numel():
        with device_of(x):
            _chains[blocks(rows, _ROWS), blocks(outputs, _COLUMNS)](
                x, weight, start, out, slope, rows, inputs, outputs, outputs if start.ndim == 2 else 0,
                ROWS=_ROWS, COLUMNS=_COLUMNS, AHEAD=_AHEAD, num_warps=2,
            )  # fmt: skip
    return out


@triton.jit
def _chains(
    x, weight, start, out, slope, rows, inputs, outputs, from_row,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, AHEAD: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    here, there = row < rows, column < outputs
    both = here[:, None] & there[None, :]
    total = tl.load(start + row.to(tl.int64)[:, None] * from_row + column[None, :], mask=both, other=0.0).to(tl.float32)
    x += row.to(tl.int64) * inputs
    weight += column
    whole = inputs // AHEAD * AHEAD
    for begin in range(0, whole, AHEAD):
        for step in tl.static_range(AHEAD):  # so many loads are under way at once
            total = _add(total, x + begin + step, weight + (begin + step) * outputs, here, there)
    for last in range(whole, inputs):
        total = _add(total, x + last, weight + last * outputs, here, there)
    total = tl.where(total < 0, total * slope, total)
    tl.store(out + row.to(tl.int64)[:, None] * outputs + column[None, :], total.to(out.dtype.element_ty), mask=both)


@triton.jit
def _add(total, x, weight, here, there):
    left = tl.load(x, mask=here, other=0.0).to(tl.float32)
    right = tl.load(weight, mask=there, other=0.0).to(tl.float32)
    return tl.fma(tl.broadcast_to(left[:, None], total.shape), tl.broadcast_to(right[None, :], total.shape), total)
