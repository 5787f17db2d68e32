"""Divisive normalisation in one pass over the picture: a tile of positions, all of its channels, at a time.

The pool is a product of matrices, ``gamma`` by squares (or magnitudes), that stays in registers: ``FIRST`` channels and
``SECOND`` more, powers of two that hold all with little waste. Going back, the pool is worked out anew.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from tinify import ops

from .launch import INTERPRETED, blocks, device_of, index_type, instead_of, planes

# The most parts that a sum over all positions is taken in; each takes C x C floats.
_PARTS = 64
_BLOCK = 64


@instead_of(ops.gdn)
def gdn(x: Tensor, beta: Tensor, gamma: Tensor, inverse: bool = False, absolute: bool = False) -> Tensor:
    x = planes(x)
    out = torch.empty_like(x)
    if x.numel():
        form = _form(x, absolute)
        tile = _tile(x, 128)
        with device_of(x):
            _forward[blocks(x[0, 0].numel(), tile), len(x)](
                x, beta.contiguous(), _matrix(gamma, form), out, *_places(x),
                INVERSE=inverse, TILE=tile, **form, num_warps=8, num_stages=2,
            )  # fmt: skip
    return out


@instead_of(ops.gdn_backward)
def gdn_backward(
    grad: Tensor, x: Tensor, beta: Tensor, gamma: Tensor, inverse: bool, absolute: bool
) -> tuple[Tensor, Tensor, Tensor]:
    x = planes(x)
    of_x, of_pool = torch.empty_like(x), torch.empty_like(x)
    grad = torch.empty_like(x).copy_(grad)
    if not x.numel():
        return of_x, torch.zeros_like(beta), torch.zeros_like(gamma)
    form = _form(x, absolute)
    channels, tile = x.shape[1], _tile(x, 32)
    tiles, side = blocks(x[0, 0].numel(), _BLOCK), blocks(channels, _BLOCK)
    parts = min(_PARTS, tiles * len(x))
    sums = x.new_empty((parts, channels, channels), dtype=torch.float32)
    totals = x.new_empty((parts, channels), dtype=torch.float32)
    with device_of(x):
        _backward[blocks(x[0, 0].numel(), tile), len(x)](
            grad, x, beta.contiguous(), _matrix(gamma, form), _matrix(gamma.t(), form), of_x, of_pool, *_places(x),
            INVERSE=inverse, TILE=tile, **form, num_warps=8, num_stages=2,
        )  # fmt: skip
        del form["FIRST"], form["SECOND"], form["DEEP"]
        _outer[side, side, parts](
            of_pool, x, sums, totals, *_places(x), tiles, tiles * len(x), BLOCK=_BLOCK, TILE=_BLOCK, **form, num_warps=8
        )
    return of_x, totals.sum(0).to(beta.dtype), sums.sum(0).to(gamma.dtype)


def _form(x: Tensor, absolute: bool) -> dict[str, Any]:
    """What the compiler has to know of channels and types; sums are of float32 throughout."""
    channels = x.shape[1]
    first = max(16, triton.next_power_of_2(channels))
    second = max(16, triton.next_power_of_2(max(1, channels - first // 2)))
    split = (first > 32 and second < first // 2) or first > 256
    # Squares of float16 overflow it: they are multiplied as TF32, which has as many digits. The interpreter's products
    # of bfloat16 are wrong.
    narrow = x.dtype == torch.bfloat16 and not INTERPRETED
    return {
        "C": channels,
        "FIRST": first // 2 if split else first,
        "SECOND": second if split else 0,
        "DEEP": min(first, 64 if narrow else 32),
        "ABSOLUTE": absolute,
        "OPERAND": tl.bfloat16 if narrow else tl.float32,
        "PRECISION": "tf32x3" if x.dtype == torch.float32 else "tf32",
        "INDEX": index_type(x[0]),
    }


def _matrix(gamma: Tensor, form: dict[str, Any]) -> Tensor:
    return gamma.to(torch.bfloat16 if form["OPERAND"] == tl.bfloat16 else torch.float32).contiguous()


def _tile(x: Tensor, most: int) -> int:
    """How many positions are worked on at once: fewer of many channels, or of wide ones."""
    return max(16, most // (1 + (x.shape[1] > 256)) // (1 + (x.dtype == torch.float32)))


def _places(x: Tensor) -> tuple[int, int, int, int]:
    """From item to item, channel to channel, position to position; and how many positions there are."""
    return x.stride(0), x.stride(1), x.stride(3), x.shape[2] * x.shape[3]


@triton.jit
def _at(channels, positions, from_channel, from_position, INDEX: tl.constexpr):
    return channels.to(INDEX)[:, None] * from_channel + positions.to(INDEX)[None, :] * from_position


@triton.jit
def _members(x, ABSOLUTE: tl.constexpr):
    """What is pooled."""
    wide = x.to(tl.float32)
    return tl.abs(wide) if ABSOLUTE else wide * wide


@triton.jit
def _weights(gamma, rows, columns, C: tl.constexpr):
    inside = (rows < C)[:, None] & (columns < C)[None, :]
    return tl.load(gamma + rows[:, None] * C + columns[None, :], mask=inside, other=0.0)


@triton.jit
def _pools(
    x, beta, gamma, first, second, positions, valid, from_channel, from_position,
    C: tl.constexpr, FIRST: tl.constexpr, SECOND: tl.constexpr, DEEP: tl.constexpr, TILE: tl.constexpr,
    ABSOLUTE: tl.constexpr, OPERAND: tl.constexpr, PRECISION: tl.constexpr, INDEX: tl.constexpr,
):  # fmt: skip
    """``beta + gamma @ members``, of the first channels and of the second."""
    pool = tl.zeros([FIRST, TILE], tl.float32)
    more = tl.zeros([second.shape[0], TILE], tl.float32)
    for begin in range(0, C, DEEP):
        inner = begin + tl.arange(0, DEEP)
        here = _at(inner, positions, from_channel, from_position, INDEX)
        seen = tl.load(x + here, mask=(inner < C)[:, None] & valid[None, :], other=0.0)
        members = _members(seen, ABSOLUTE).to(OPERAND)
        pool = tl.dot(_weights(gamma, first, inner, C), members, pool, input_precision=PRECISION)
        if SECOND > 0:
            more = tl.dot(_weights(gamma, second, inner, C), members, more, input_precision=PRECISION)
    pool += tl.load(beta + first, mask=first < C, other=1.0).to(tl.float32)[:, None]
    more += tl.load(beta + second, mask=second < C, other=1.0).to(tl.float32)[:, None]
    return pool, more


@triton.jit
def _divide(
    x, out, pool, channels, positions, valid, from_channel, from_position,
    C: tl.constexpr, INVERSE: tl.constexpr, ABSOLUTE: tl.constexpr, INDEX: tl.constexpr,
):  # fmt: skip
    here = _at(channels, positions, from_channel, from_position, INDEX)
    there = (channels < C)[:, None] & valid[None, :]
    value = tl.load(x + here, mask=there, other=0.0).to(tl.float32)
    if not ABSOLUTE:
        pool = tl.sqrt(pool)
    value = value * pool if INVERSE else value / pool
    tl.store(out + here, value.to(out.dtype.element_ty), mask=there)


@triton.jit
def _forward(
    x, beta, gamma, out, from_item, from_channel, from_position, positions_of_all,
    INVERSE: tl.constexpr, TILE: tl.constexpr,
    C: tl.constexpr, FIRST: tl.constexpr, SECOND: tl.constexpr, DEEP: tl.constexpr,
    ABSOLUTE: tl.constexpr, OPERAND: tl.constexpr, PRECISION: tl.constexpr, INDEX: tl.constexpr,
):  # fmt: skip
    positions = tl.program_id(0) * TILE + tl.arange(0, TILE)
    valid = positions < positions_of_all
    item = tl.program_id(1).to(tl.int64) * from_item
    first, second = tl.arange(0, FIRST), FIRST + tl.arange(0, SECOND if SECOND > 0 else 1)
    pool, more = _pools(
        x + item, beta, gamma, first, second, positions, valid, from_channel, from_position,
        C, FIRST, SECOND, DEEP, TILE, ABSOLUTE, OPERAND, PRECISION, INDEX,
    )  # fmt: skip
    _divide(
        x + item, out + item, pool, first, positions, valid, from_channel, from_position, C, INVERSE, ABSOLUTE, INDEX
    )
    if SECOND > 0:
        _divide(
            x + item, out + item, more, second, positions, valid, from_channel, from_position,
            C, INVERSE, ABSOLUTE, INDEX,
        )  # fmt: skip


@triton.jit
def _changes(
    grad, x, of_pool, pool, channels, positions, valid, from_channel, from_position,
    C: tl.constexpr, INVERSE: tl.constexpr, ABSOLUTE: tl.constexpr, INDEX: tl.constexpr,
):  # fmt: skip
    """The gradient of the pool, which is stored too, and what x is multiplied by in its own."""
    here = _at(channels, positions, from_channel, from_position, INDEX)
    there = (channels < C)[:, None] & valid[None, :]
    value = tl.load(x + here, mask=there, other=0.0).to(tl.float32)
    above = tl.load(grad + here, mask=there, other=0.0).to(tl.float32)
    if ABSOLUTE:
        factor = pool if INVERSE else 1.0 / pool
        slope = value if INVERSE else -value * factor * factor
    else:
        root = tl.sqrt(pool)
        factor = root if INVERSE else 1.0 / root
        slope = 0.5 * value * (1.0 / root if INVERSE else -factor * factor * factor)
    change = above * slope
    tl.store(of_pool + here, change.to(of_pool.dtype.element_ty), mask=there)
    return change, above * factor


@triton.jit
def _finish(
    x, of_x, direct, through, channels, positions, valid, from_channel, from_position,
    C: tl.constexpr, ABSOLUTE: tl.constexpr, INDEX: tl.constexpr,
):  # fmt: skip
    here = _at(channels, positions, from_channel, from_position, INDEX)
    there = (channels < C)[:, None] & valid[None, :]
    value = tl.load(x + here, mask=there, other=0.0).to(tl.float32)
    slope = tl.where(value > 0, 1.0, tl.where(value < 0, -1.0, 0.0)) if ABSOLUTE else 2.0 * value
    tl.store(of_x + here, (direct + through * slope).to(of_x.dtype.element_ty), mask=there)


@triton.jit
def _backward(
    grad, x, beta, gamma, turned, of_x, of_pool, from_item, from_channel, from_position, positions_of_all,
    INVERSE: tl.constexpr, TILE: tl.constexpr,
    C: tl.constexpr, FIRST: tl.constexpr, SECOND: tl.constexpr, DEEP: tl.constexpr,
    ABSOLUTE: tl.constexpr, OPERAND: tl.constexpr, PRECISION: tl.constexpr, INDEX: tl.constexpr,
):  # fmt: skip
    positions = tl.program_id(0) * TILE + tl.arange(0, TILE)
    valid = positions < positions_of_all
    item = tl.program_id(1).to(tl.int64) * from_item
    grad, x, of_x, of_pool = grad + item, x + item, of_x + item, of_pool + item
    first, second = tl.arange(0, FIRST), FIRST + tl.arange(0, SECOND if SECOND > 0 else 1)
    pool, more = _pools(
        x, beta, gamma, first, second, positions, valid, from_channel, from_position,
        C, FIRST, SECOND, DEEP, TILE, ABSOLUTE, OPERAND, PRECISION, INDEX,
    )  # fmt: skip
    change, direct = _changes(
        grad, x, of_pool, pool, first, positions, valid, from_channel, from_position, C, INVERSE, ABSOLUTE, INDEX
    )
    operand = change.to(OPERAND)
    through = tl.dot(_weights(turned, first, first, C), operand, input_precision=PRECISION)
    if SECOND > 0:
        change, other = _changes(
            grad, x, of_pool, more, second, positions, valid, from_channel, from_position, C, INVERSE, ABSOLUTE, INDEX
        )
        rest = tl.dot(_weights(turned, second, first, C), operand, input_precision=PRECISION)
        operand = change.to(OPERAND)
        through = tl.dot(_weights(turned, first, second, C), operand, through, input_precision=PRECISION)
        rest = tl.dot(_weights(turned, second, second, C), operand, rest, input_precision=PRECISION)
        _finish(x, of_x, other, rest, second, positions, valid, from_channel, from_position, C, ABSOLUTE, INDEX)
    _finish(x, of_x, direct, through, first, positions, valid, from_channel, from_position, C, ABSOLUTE, INDEX)


@triton.jit
def _outer(
    of_pool, x, sums, totals, from_item, from_channel, from_position, positions_of_all, tiles, tiles_of_all,
    BLOCK: tl.constexpr, TILE: tl.constexpr, C: tl.constexpr,
    ABSOLUTE: tl.constexpr, OPERAND: tl.constexpr, PRECISION: tl.constexpr, INDEX: tl.constexpr,
):  # fmt: skip
    """What the tiles of one part add to the gradients of gamma and beta."""
    rows = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    part, parts = tl.program_id(2), tl.num_programs(2)
    found = tl.zeros([BLOCK, BLOCK], tl.float32)
    total = tl.zeros([BLOCK], tl.float32)
    for tile in range(part, tiles_of_all, parts):
        positions = (tile % tiles) * TILE + tl.arange(0, TILE)
        valid = positions < positions_of_all
        item = (tile // tiles).to(tl.int64) * from_item
        change = tl.load(
            of_pool + item + _at(rows, positions, from_channel, from_position, INDEX),
            mask=(rows < C)[:, None] & valid[None, :], other=0.0,
        )  # fmt: skip
        seen = tl.load(
            x + item + _at(columns, positions, from_channel, from_position, INDEX),
            mask=(columns < C)[:, None] & valid[None, :], other=0.0,
        )  # fmt: skip
        members = tl.trans(_members(seen, ABSOLUTE).to(OPERAND))
        found = tl.dot(change.to(OPERAND), members, found, input_precision=PRECISION)
        total += tl.sum(change.to(tl.float32), 1)
    inside = (rows < C)[:, None] & (columns < C)[None, :]
    tl.store(sums + part * C * C + rows[:, None] * C + columns[None, :], found, mask=inside)
    if tl.program_id(1) == 0:
        tl.store(totals + part * C + rows, total, mask=rows < C)
