"""Entropy models whose density is chosen, for every element, by indexes that depend on the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from tinify.coders import CdfTables
from tinify.entropy_models.continuous import ContinuousEntropyModel, Strings, flatten, tables_of
from tinify.errors import InputError
from tinify.ops import lower_bound, round_st, upper_bound


class ContinuousIndexedEntropyModel(ContinuousEntropyModel):
    """A prior for each element, ``prior_fn(**{name: f(indexes) for name, f in parameter_fns.items()})``.

    ``indexes`` have, for the ``n`` numbers of ``index_ranges``, an axis of that size at ``channel_axis``, and the shape
    of the latent without it; ``channel_axis=None`` is for one range and indexes of the latent's own shape. They are
    bounded to ``[0, range - 1]``, with gradients that lead back inside. There is a coding table for each combination of
    whole indexes.

    ``model(y, indexes, training=None)`` returns ``(y_hat, bits)`` as :class:`ContinuousBatchedEntropyModel` does, whose
    other arguments these are. In training indexes may be fractions, to have gradients; for coding they are rounded to
    the nearest, and so they are for the bits outside training, which are those of what is coded. Values are rounded to
    integers.

    >>> from tinify.distributions import NoisyNormal
    >>> model = ContinuousIndexedEntropyModel(
    ...     NoisyNormal,
    ...     index_ranges=(64, 8),
    ...     parameter_fns={"loc": lambda i: i[..., 1] - 4, "scale": lambda i: 1 + i[..., 0]},
    ...     coding_rank=1,
    ...     compression=True,
    ... )
    >>> y, indexes = 5 * torch.randn(3, 7), 7 * torch.rand(3, 7, 2)
    >>> torch.equal(model.decompress(model.compress(y, indexes), indexes), torch.round(y))
    True
    """

    def __init__(
        self,
        prior_fn: Callable[..., Any],
        index_ranges: Sequence[int],
        parameter_fns: Mapping[str, Callable[[Tensor], Any]],
        coding_rank: int,
        channel_axis: int | None = -1,
        compression: bool = False,
        *,
        expected_grads: bool = False,
        tail_mass: float = 2**-8,
        decode_sanity_check: bool = True,
        laplace_tail_mass: float = 0.0,
    ) -> None:
        super().__init__(
            coding_rank,
            expected_grads=expected_grads,
            tail_mass=tail_mass,
            decode_sanity_check=decode_sanity_check,
            laplace_tail_mass=laplace_tail_mass,
        )
        self.prior_fn = prior_fn
        self.parameter_fns = dict(parameter_fns)
        self.index_ranges = tuple(int(size) for size in index_ranges)
        self.channel_axis = channel_axis
        if not self.index_ranges or min(self.index_ranges) < 1:
            raise InputError(f"index_ranges {index_ranges!r}: expected at least one, each at least 1")
        if channel_axis is None and len(self.index_ranges) > 1:
            raise InputError(f"channel_axis=None is for one index range; there are {len(self.index_ranges)}")
        if compression:
            self.update()

    def forward(self, y: Tensor, indexes: Tensor, training: bool | None = None) -> tuple[Tensor, Tensor]:
        return self._estimate_indexed(y, indexes, training, round_st)

    def quantize(self, y: Tensor) -> Tensor:  # type: ignore[override]
        """``y`` rounded, with the gradient of the identity."""
        return round_st(y)

    @torch.no_grad()
    def compress(self, y: Tensor, indexes: Tensor) -> Strings:  # type: ignore[override]
        """The strings, a nested list of shape ``y.shape[:-coding_rank]``; errors are those of the batched model."""
        self._check_rank(y)
        return self._encode(torch.round(y.double()), self._rows(indexes, y.shape))

    @torch.no_grad()
    def decompress(self, strings: Strings, indexes: Tensor) -> Tensor:  # type: ignore[override]
        """The rounded latent, float32, of the shape that the indexes say."""
        rows = self._rows(indexes)
        if rows.ndim < self.coding_rank:
            raise InputError(f"indexes for a latent of shape {tuple(rows.shape)}: coding_rank is {self.coding_rank}")
        flat, shape = flatten(strings)
        batch = rows.shape[: rows.ndim - self.coding_rank]
        if shape != batch:
            raise InputError(f"strings of shape {tuple(shape)}: expected {tuple(batch)}, a string for each unit")
        return self._decode(flat, rows).float()

    def build_tables(self) -> CdfTables:
        ranges = [torch.arange(size, dtype=torch.float32) for size in self.index_ranges]
        grid = torch.cartesian_prod(*ranges).reshape(-1, len(ranges))  # the last index moves fastest
        axis = self.channel_axis
        if axis is None:
            prior = self._prior(grid[:, 0])
        else:
            inner = axis if axis >= 0 else -axis - 1  # so many more axes as stand on that side of the channels
            spread = grid.reshape(len(grid), *[1] * max(inner - 1, 0), len(ranges))
            prior = self._prior(spread.movedim(-1, axis))
        return _flat_tables(prior, len(grid), self.tail_mass)

    def _estimate_indexed(
        self, y: Tensor, indexes: Tensor, training: bool | None, quantize: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        training = self.training if training is None else training
        bounded = self._bounded_indexes(indexes, y.shape)
        return self._estimate(self._prior(bounded if training else torch.round(bounded)), y, training, quantize)

    def _prior(self, indexes: Tensor) -> Any:
        return self.prior_fn(**{name: make(indexes) for name, make in self.parameter_fns.items()})

    def _bounded_indexes(self, indexes: Tensor, shape: torch.Size | None = None) -> Tensor:
        """The indexes as floats within their ranges; raises where they do not fit a latent of that shape."""
        channels, axis = len(self.index_ranges), self.channel_axis
        fits = axis is None or (-indexes.ndim <= axis < indexes.ndim and indexes.shape[axis] == channels)
        if not fits or shape not in (None, self._latent_shape(indexes)):
            wanted = "of the latent's shape" if axis is None else f"with an axis of {channels} at channel_axis {axis}"
            of = "" if shape is None else f" for a latent of shape {tuple(shape)}"
            raise InputError(f"indexes of shape {tuple(indexes.shape)}{of}: expected them {wanted}")
        last = torch.tensor(self.index_ranges, dtype=torch.float32, device=indexes.device) - 1
        if axis is not None:
            last = last.reshape([channels if at == axis % indexes.ndim else 1 for at in range(indexes.ndim)])
        return lower_bound(upper_bound(indexes.float(), last), 0.0)

    def _latent_shape(self, indexes: Tensor) -> torch.Size:
        shape = list(indexes.shape)
        if self.channel_axis is not None:
            del shape[self.channel_axis]
        return torch.Size(shape)

    def _rows(self, indexes: Tensor, shape: torch.Size | None = None) -> Tensor:
        """The row of the tables for every element of a latent."""
        bounded = self._bounded_indexes(indexes, shape)
        if bool(bounded.isnan().any()):
            raise InputError("indexes have NaN elements: check the input and the weights")
        whole = torch.round(bounded).int()
        if self.channel_axis is None:
            return whole
        rows = torch.zeros(self._latent_shape(indexes), dtype=torch.int32, device=indexes.device)
        for size, index in zip(self.index_ranges, whole.unbind(self.channel_axis), strict=True):
            rows = rows * size + index
        return rows


def _flat_tables(prior: Any, count: int, tail_mass: float) -> CdfTables:
    tables = tables_of(prior, 0.0, tail_mass)
    if len(tables) != count:
        raise InputError(
            f"the prior has {len(tables)} elements for {count} combinations of indexes: parameter_fns must give a "
            "parameter for each"
        )
    return tables
