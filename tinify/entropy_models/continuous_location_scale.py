"""The entropy model of latents with a predicted location, and a scale out of a table, for every element."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tinify.entropy_models.continuous import Strings
from tinify.entropy_models.continuous_indexed import ContinuousIndexedEntropyModel
from tinify.ops import round_st


class LocationScaleIndexedEntropyModel(ContinuousIndexedEntropyModel):
    """``prior_fn(loc=0, scale=scale_fn(indexes))`` for each element, moved to ``loc``.

    ``indexes`` are of the latent's shape, from 0 to ``num_scales - 1``; ``loc`` broadcasts against it, or is None for
    0. Values are rounded to the integers shifted by ``loc``, which may be any number: one table for each scale is all.
    Other arguments and results are those of :class:`ContinuousIndexedEntropyModel`.

    >>> from tinify.distributions import NoisyNormal
    >>> def scale_fn(i):
    ...     return torch.exp(-2.2 + i * 0.123)  # 0.11 to 256
    >>> model = LocationScaleIndexedEntropyModel(NoisyNormal, 64, scale_fn, coding_rank=2, compression=True)
    >>> y, indexes, loc = torch.randn(3, 2, 5), torch.full((3, 2, 5), 20.0), torch.rand(3, 2, 5)
    >>> strings = model.compress(y, indexes, loc)
    >>> torch.allclose(model.decompress(strings, indexes, loc), torch.round(y - loc) + loc)
    True
    """

    def __init__(
        self,
        prior_fn: Callable[..., Any],
        num_scales: int,
        scale_fn: Callable[[Tensor], Tensor],
        coding_rank: int,
        compression: bool = False,
        *,
        expected_grads: bool = False,
        tail_mass: float = 2**-8,
        decode_sanity_check: bool = True,
        laplace_tail_mass: float = 0.0,
    ) -> None:
        super().__init__(
            prior_fn,
            (num_scales,),
            {"loc": torch.zeros_like, "scale": scale_fn},
            coding_rank,
            None,
            compression,
            expected_grads=expected_grads,
            tail_mass=tail_mass,
            decode_sanity_check=decode_sanity_check,
            laplace_tail_mass=laplace_tail_mass,
        )

    def forward(  # type: ignore[override]
        self, y: Tensor, indexes: Tensor, loc: Tensor | None = None, training: bool | None = None
    ) -> tuple[Tensor, Tensor]:
        shift = 0.0 if loc is None else loc
        y_hat, bits = self._estimate_indexed(y - shift, indexes, training, round_st)
        return y_hat + shift, bits

    def quantize(self, y: Tensor, loc: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """``y`` rounded to the integers shifted by ``loc``, with the gradient of the identity."""
        return round_st(y, loc)

    @torch.no_grad()
    def compress(self, y: Tensor, indexes: Tensor, loc: Tensor | None = None) -> Strings:
        """The strings, a nested list of shape ``y.shape[:-coding_rank]``."""
        return super().compress(y if loc is None else y - loc, indexes)

    @torch.no_grad()
    def decompress(self, strings: Strings, indexes: Tensor, loc: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """The quantised latent, of the shape of ``indexes``."""
        symbols = super().decompress(strings, indexes)
        return symbols if loc is None else symbols + loc
