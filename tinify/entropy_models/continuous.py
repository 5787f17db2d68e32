"""What entropy models over a distribution share: bits, tables from densities, one string for each coding unit."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tinify.coders import CdfTables, Coder, pmfs_to_quantized_cdfs
from tinify.distributions import NoisyLaplace, lower_tail, upper_tail
from tinify.entropy_models.base import EntropyModel, full_precision
from tinify.errors import InputError, TablesMissingError
from tinify.ops import perturb_and_apply

_MOST_BINS = 1 << 14
"""The widest row: every bin takes one of 65536 units, so what is further out is cheaper as an escape."""
_INT32 = 2**31 - 1

Strings = Any
"""Nested lists of bytes; of no batch axes, the bytes."""


class ContinuousEntropyModel(EntropyModel):
    """The shared half of :class:`ContinuousBatchedEntropyModel` and :class:`ContinuousIndexedEntropyModel`.

    A *coding unit*, the ``coding_rank`` innermost axes of a latent, becomes one string, within a byte of its
    information: these models are coded by the range coder, unless ``coder`` says otherwise. Axes left of it are a
    batch. Tables are those of :class:`~tinify.entropy_models.EntropyModel`: built once, saved with the state dict, and
    not touched by training, after which ``update(force=True)`` builds others.
    """

    def __init__(
        self,
        coding_rank: int,
        *,
        expected_grads: bool,
        tail_mass: float,
        decode_sanity_check: bool,
        laplace_tail_mass: float,
    ) -> None:
        super().__init__(likelihood_bound=0)
        if isinstance(coding_rank, bool) or not isinstance(coding_rank, int) or coding_rank < 0:
            raise InputError(f"coding_rank {coding_rank!r}: expected how many of the innermost axes make a string")
        if not 0 < tail_mass < 1:
            raise InputError(f"tail_mass {tail_mass!r}: expected a probability between 0 and 1")
        if not 0 <= laplace_tail_mass < 1:
            raise InputError(f"laplace_tail_mass {laplace_tail_mass!r}: expected a probability, 0 for none")
        self.coding_rank = coding_rank
        self.expected_grads = expected_grads
        self.tail_mass = float(tail_mass)
        self.decode_sanity_check = decode_sanity_check
        self.laplace_tail_mass = float(laplace_tail_mass)

    def _estimate(
        self, prior: Any, y: Tensor, training: bool | None, quantize: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """``(y_hat, bits)`` under a prior: of ``y`` and noise in training, else quantised."""
        self._check_rank(y)
        with full_precision(y):
            wide = y if y.dtype == torch.float64 else y.float()
            if self.training if training is None else training:
                log_probs, y_hat = perturb_and_apply(
                    lambda x: self._log_prob(prior, x), wide, expected_grads=self.expected_grads
                )
            else:
                y_hat = quantize(wide)
                log_probs = self._log_prob(prior, y_hat)
            inner = tuple(range(-self.coding_rank, 0))
            bits = (log_probs.sum(inner) if inner else log_probs) / -math.log(2)
        return y_hat.to(y.dtype), bits

    def _log_prob(self, prior: Any, y: Tensor) -> Tensor:
        log_prob: Tensor = prior.log_prob(y)
        if not self.laplace_tail_mass:
            return log_prob
        tail = NoisyLaplace(y.new_zeros(()), y.new_ones(())).log_prob(y)
        share = self.laplace_tail_mass
        return torch.logaddexp(math.log1p(-share) + log_prob, math.log(share) + tail)

    def _encode(self, symbols: Tensor, indexes: Tensor) -> Strings:
        """The strings of symbols that were rounded, under rows of the tables, both of one shape."""
        self._check_tables()
        if not bool((symbols.abs() <= _INT32).all()):
            raise InputError(
                "the tensor to be coded has elements that are NaN, or too large for 32 bits: check input and weights"
            )
        batch = _split(symbols.shape, self.coding_rank)
        strings = self.tables.encode_batch(
            _units(symbols.int().cpu(), batch), _units(indexes.cpu(), batch), coder=self._coder(True)
        )
        return _nested(strings, batch)

    def _decode(self, strings: list[bytes], indexes: Tensor) -> Tensor:
        """The symbols of strings, int32 of the shape of ``indexes``."""
        self._check_tables()
        rows = _units(indexes.cpu(), _split(indexes.shape, self.coding_rank))
        symbols: Tensor = self.tables.decode_batch(strings, rows, coder=self._coder(self.decode_sanity_check))
        return symbols.reshape(indexes.shape).to(indexes.device)

    def _coder(self, strict: bool) -> Coder:
        from tinify.coders.range_coder import RangeCoder  # which imports numba

        if strict:
            return self.coder or RangeCoder()
        if self.coder is not None and not isinstance(self.coder, RangeCoder):
            raise InputError(
                "decode_sanity_check=False is for the range coder alone, which can read any bytes: leave coder at None"
            )
        return RangeCoder(strict=False)

    def _check_tables(self) -> None:
        if not self.has_tables:
            raise TablesMissingError(
                f"this {type(self).__name__} has no coding tables: make it with compression=True, call update(), or "
                "load a state dict that was saved with them"
            )

    def _check_rank(self, y: Tensor) -> None:
        if y.ndim < self.coding_rank or not y.is_floating_point():
            raise InputError(
                f"a latent of {y.dtype} and shape {tuple(y.shape)}: expected floats, and the {self.coding_rank} "
                "innermost axes of coding_rank"
            )

    def ensure_tables(self) -> None:
        """Nothing: these models have tables if they were made for compression."""


def tables_of(prior: Any, offset: Tensor | float, tail_mass: float) -> CdfTables:
    """A row of integer CDFs for each element of a noisy prior, at the integers shifted by ``offset``.

    ``tail_mass`` is the probability that is left to escapes, of both tails together. Raises
    :class:`~tinify.errors.InputError` for a prior whose tails are not finite.
    """
    with torch.no_grad():
        low = torch.floor(lower_tail(prior, tail_mass) - offset)
        high = torch.maximum(torch.ceil(upper_tail(prior, tail_mass) - offset), low)
        if not bool(((low.abs() < _INT32 / 2) & (high.abs() < _INT32 / 2)).all()):
            raise InputError("the tails of the prior are not finite, or too far out: are its parameters finite?")
        middle = torch.round((low + high) / 2)
        low = torch.maximum(low, middle - _MOST_BINS // 2)
        length = torch.minimum(high - low + 1, torch.tensor(float(_MOST_BINS))).flatten().long().cpu()
        steps = torch.arange(int(length.max()), device=low.device).reshape(-1, *[1] * low.ndim)
        pmf = torch.exp(prior.log_prob(low + steps + offset)).reshape(len(steps), -1).T.double().cpu().numpy()
    used = np.arange(len(steps)) < length.numpy()[:, None]
    tail = np.maximum(1 - (pmf * used).sum(1), 0)
    rows = pmfs_to_quantized_cdfs(pmf, tail, length.numpy())
    return CdfTables(rows, length.numpy() + 2, low.flatten().int().cpu().numpy())


def _split(shape: torch.Size, coding_rank: int) -> torch.Size:
    """The axes left of a coding unit."""
    return shape[: len(shape) - coding_rank]


def _units(x: Tensor, batch: torch.Size) -> Tensor:
    """(units, elements); a tensor that is expanded along the batch stays so."""
    inner = x.shape[len(batch) :].numel()
    if x.is_contiguous() or not batch.numel() or any(x.stride()[: len(batch)]):
        return x.reshape(batch.numel(), inner)
    return x[(0,) * len(batch)].reshape(1, inner).expand(batch.numel(), inner)


def _nested(strings: Sequence[bytes], shape: torch.Size) -> Strings:
    """The strings in lists of lists, as deep as the shape is long."""
    if not shape:
        return strings[0]
    step = shape[1:].numel()
    return [_nested(strings[at * step : (at + 1) * step], shape[1:]) for at in range(shape[0])]


def flatten(strings: Strings) -> tuple[list[bytes], torch.Size]:
    """All strings of nested lists, one after another, and the shape that they had.

    Raises :class:`~tinify.errors.InputError` for what are none, and for lists of different lengths.
    """
    if isinstance(strings, bytes | bytearray | memoryview):
        return [bytes(strings)], torch.Size()
    if not isinstance(strings, list | tuple | np.ndarray):
        raise InputError(f"strings hold a {type(strings).__name__}: expected bytes, or lists of them in any depth")
    parts = [flatten(one) for one in strings]
    shapes = {shape for _, shape in parts}
    if len(shapes) > 1:
        raise InputError(f"lists of strings of different shapes, {sorted(map(tuple, shapes))}: expected one shape")
    return [one for part, _ in parts for one in part], torch.Size((len(parts), *(shapes.pop() if shapes else ())))
