"""The strings of Gaussian mixtures that CompressAI writes; specs/FORMAT.md says how, section "The field's mixtures"."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tinify.coders.incremental import as_bytes
from tinify.errors import InputError

_SCALES = 0.11, 256.0  # whatever the scale table of the model
_TOTAL = 65535  # of a row without its escape, nearly
_BLOCK = 1 << 19
"""Bins whose probabilities are worked out together: it bounds the memory."""


def write_mixture(y_hat: Tensor, abs_max: int, zero_bitmap: Tensor, params: Sequence[Tensor]) -> bytes:
    """The string of the channels of ``y_hat``, (batch, M, ...), that the bitmap has a 1 for; of none, ``b""``.

    Parameters are the scales, means and weights, each (batch, K, M, ...). CompressAI reads strings of one batch item.
    """
    from tinify.coders.compat import write_bins  # numba waits until something is coded

    symbols = y_hat[:, zero_bitmap > 0].flatten().cpu().long() + _checked(abs_max)
    if not symbols.numel():
        return b""
    starts, ends = np.empty(symbols.numel(), np.int32), np.empty(symbols.numel(), np.int32)
    for part, rows in _blocks(abs_max, zero_bitmap > 0, params):
        bins = symbols[part, None]
        starts[part], ends[part] = (rows.gather(1, bins + step)[:, 0].numpy() for step in (0, 1))
    return write_bins(starts, ends - starts)


def read_mixture(string: bytes, abs_max: Any, zero_bitmap: Any, params: Sequence[Tensor]) -> Tensor:
    """The ``y_hat`` of a string, float32; :class:`~tinify.errors.CorruptStreamError` where it cannot be right."""
    from tinify.coders.compat import CompatReader

    batch, _, channels, *rest = params[0].shape
    abs_max, coded = _checked(abs_max), _bitmap(zero_bitmap, channels).to(params[0].device)
    y_hat = torch.zeros(batch, channels, *rest, device=params[0].device)
    size = y_hat[:, coded].shape
    symbols = np.empty(size.numel(), np.int32)
    reader = CompatReader(as_bytes(string))
    for part, rows in _blocks(abs_max, coded, params):
        reader.pop_rows(rows.numpy(), symbols[part])
        symbols[part] -= abs_max
    reader.finish()
    y_hat[:, coded] = torch.from_numpy(symbols).to(y_hat).reshape(size)
    return y_hat


def check_finite(scales: Tensor, means: Tensor, weights: Tensor) -> None:
    """Raises :class:`~tinify.errors.InputError` unless all are finite."""
    for name, one in (("scales", scales), ("means", means), ("weights", weights)):
        # The ends tell as much, in a fraction of the time.
        if one.numel() and not (torch.isfinite(one.amax()) and torch.isfinite(one.amin())):
            raise InputError(f"{name} of a mixture are NaN or infinite: check the input and the weights")


def _blocks(abs_max: int, coded: Tensor, params: Sequence[Tensor]) -> Iterator[tuple[slice, Tensor]]:
    """Rows for some elements of the coded channels after others."""
    scales, means, weights = (one[:, :, coded].float().cpu().transpose(0, 1).flatten(1) for one in params)
    check_finite(scales, means, weights)
    if ((weights.sum(0) - 1).abs() > 1 / 256).any() or (weights < 0).any():
        raise InputError("the weights of a symbol do not add up to one: expected those of a softmax over components")
    count, size = means.shape[1], max(1, _BLOCK // (2 * abs_max + 3))
    for start in range(0, count, size):
        part = slice(start, min(count, start + size))
        yield part, mixture_rows(abs_max, scales[:, part], means[:, part], weights[:, part])


def mixture_rows(abs_max: int, scales: Tensor, means: Tensor, weights: Tensor) -> Tensor:
    """CompressAI's integer CDFs of ``n`` mixtures (K, n): (n, ``2 * abs_max + 3``), int32.

    The bins are those of ``-abs_max`` to ``abs_max``, and an escape. All is computed in float32 and in its order, for
    every rounding counts.

    >>> one = torch.ones(1, 1)
    >>> mixture_rows(1, one, 0 * one, one).tolist()
    [[0, 18285, 47249, 65535, 65536]]
    """
    ends = _cumulative(_probabilities(abs_max, scales, means, weights))
    widths = torch.diff(ends, dim=1, prepend=ends.new_zeros(len(ends), 1))
    _fill(widths, abs_max)
    rows = ends.new_zeros(len(ends), 2 * abs_max + 3)
    torch.cumsum(widths, 1, dtype=torch.int32, out=rows[:, 1:-1])
    rows[:, -1] = _TOTAL + 1
    return rows


def _probabilities(abs_max: int, scales: Tensor, means: Tensor, weights: Tensor) -> Tensor:
    """Of all bins but the escape."""
    edges = torch.arange(2 * abs_max + 2) - 0.5
    total = torch.zeros(means.shape[1], 2 * abs_max + 1)
    for scale, mean, weight in zip(scales.clamp(*_SCALES) * math.sqrt(2), means + abs_max, weights, strict=True):
        below = edges.sub(mean[:, None]).div_(scale[:, None]).erf_().add_(1).mul_(0.5)
        total += torch.diff(below, dim=1).mul_(weight[:, None])
    return total


def _cumulative(probabilities: Tensor) -> Tensor:
    """Where bins end, of which some may be empty yet."""
    counts = probabilities.clamp_(min=1 / _TOTAL).mul_(_TOTAL).round_()
    return counts.mul(_TOTAL).div_(counts.sum(1, keepdim=True)).cumsum(1).int()


def _fill(widths: Tensor, abs_max: int) -> None:
    """Empty bins get one each, all from the narrowest that is wider than they are many, the first of several."""
    empty = widths == 0
    wanted = empty.sum(1, keepdim=True, dtype=torch.int32)
    narrowest, donor = torch.where(widths > wanted, widths, _TOTAL + 1).min(1, keepdim=True)
    if (narrowest > _TOTAL).any():
        raise _too_wide(abs_max)
    widths.scatter_add_(1, donor, -wanted)
    widths.masked_fill_(empty, 1)


def _checked(abs_max: Any) -> int:
    try:
        value = operator.index(abs_max)
    except (TypeError, RuntimeError):
        value = 0
    if isinstance(abs_max, bool) or value < 1:
        raise InputError(f"abs_max {abs_max!r}: expected the whole number from 1 that compress() returned")
    if 2 * value + 1 > _TOTAL:
        raise _too_wide(value)
    return value


def _bitmap(zero_bitmap: Any, channels: int) -> Tensor:
    try:
        bitmap = torch.as_tensor(zero_bitmap).flatten()
    except (TypeError, ValueError, RuntimeError):
        bitmap = torch.empty(0)
    if bitmap.numel() != channels or not ((bitmap == 0) | (bitmap == 1)).all():
        raise InputError(f"zero_bitmap {zero_bitmap!r}: expected a 0 or a 1 for each of {channels} channels")
    return bitmap > 0


def _too_wide(abs_max: int) -> InputError:
    return InputError(
        f"abs_max {abs_max}: the mixtures of CompressAI's strings, of 16 bits, have no room for as many symbols; "
        "scale the latent down, or choose another coder than compat"
    )
