"""Distributions of rounded and softly rounded values, and these with uniform noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tinify.distributions.bases import Normal
from tinify.distributions.deep_factorized import DeepFactorized
from tinify.distributions.density import Density
from tinify.distributions.helpers import lower_tail, quantization_offset, upper_tail
from tinify.distributions.uniform_noise import UniformNoiseAdapter
from tinify.ops import soft_round, soft_round_inverse


class MonotonicAdapter(Density):
    """The distribution of ``transform`` of a draw of ``base``, for a function that never falls.

    A subclass gives ``transform`` and ``inverse_transform``, the least value that is transformed to ``y`` or more, and
    says whether it is ``invertible``.
    """

    invertible = True

    def __init__(self, base: Any) -> None:
        super().__init__()
        self.base = base

    def transform(self, x: Tensor) -> Tensor:
        """What becomes of a value of the base."""
        raise NotImplementedError

    def inverse_transform(self, y: Tensor) -> Tensor:
        """The least value that is transformed to ``y`` or more."""
        raise NotImplementedError

    @property
    def batch_shape(self) -> torch.Size:
        shape: torch.Size = self.base.batch_shape
        return shape

    def log_cdf(self, y: Tensor) -> Tensor:
        log_cdf: Tensor = self.base.log_cdf(self.inverse_transform(y))
        return log_cdf

    def log_survival_function(self, y: Tensor) -> Tensor:
        log_survival: Tensor = self.base.log_survival_function(self.inverse_transform(y))
        return log_survival

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return self.transform(self.base.sample(torch.Size(sample_shape)))

    def _quantization_offset(self) -> Tensor:
        return self.transform(quantization_offset(self.base))

    def _lower_tail(self, tail_mass: float) -> Tensor:
        return self.transform(lower_tail(self.base, tail_mass))

    def _upper_tail(self, tail_mass: float) -> Tensor:
        return self.transform(upper_tail(self.base, tail_mass))


class RoundAdapter(MonotonicAdapter):
    """The distribution of rounded draws of ``base``."""

    invertible = False

    def transform(self, x: Tensor) -> Tensor:
        return torch.round(x)

    def inverse_transform(self, y: Tensor) -> Tensor:
        return torch.ceil(y) - 0.5

    def _quantization_offset(self) -> Tensor:
        return torch.zeros_like(quantization_offset(self.base))

    def _lower_tail(self, tail_mass: float) -> Tensor:
        return torch.floor(lower_tail(self.base, tail_mass))

    def _upper_tail(self, tail_mass: float) -> Tensor:
        return torch.ceil(upper_tail(self.base, tail_mass))


class SoftRoundAdapter(MonotonicAdapter):
    """The distribution of softly rounded draws of ``base``; ``alpha`` says how hard: see ``tinify.ops.soft_round``."""

    def __init__(self, base: Any, alpha: float) -> None:
        super().__init__(base)
        self.alpha = float(alpha)

    def transform(self, x: Tensor) -> Tensor:
        return soft_round(x, self.alpha)

    def inverse_transform(self, y: Tensor) -> Tensor:
        return soft_round_inverse(y, self.alpha)


class NoisyRoundedNormal(UniformNoiseAdapter):
    """A rounded normal distribution and uniform noise.

    >>> noisy = NoisyRoundedNormal(torch.tensor(0.0), torch.tensor(1.0))
    >>> noisy.prob(torch.tensor([0.0, 0.4])).tolist() == [noisy.prob(torch.tensor(0.0)).item()] * 2
    True
    """

    def __init__(self, loc: Tensor | float, scale: Tensor | float) -> None:
        super().__init__(RoundAdapter(Normal(loc, scale)))


class NoisyRoundedDeepFactorized(UniformNoiseAdapter):
    """A rounded :class:`~tinify.distributions.DeepFactorized` and uniform noise; arguments are those of that class."""

    def __init__(
        self, batch_shape: Sequence[int] = (), num_filters: Sequence[int] = (3, 3), init_scale: float = 10
    ) -> None:
        super().__init__(RoundAdapter(DeepFactorized(batch_shape, num_filters, init_scale)))


class NoisySoftRoundedNormal(UniformNoiseAdapter):
    """A softly rounded normal distribution and uniform noise."""

    def __init__(self, loc: Tensor | float, scale: Tensor | float, alpha: float = 5.0) -> None:
        super().__init__(SoftRoundAdapter(Normal(loc, scale), alpha))


class NoisySoftRoundedDeepFactorized(UniformNoiseAdapter):
    """A softly rounded :class:`~tinify.distributions.DeepFactorized` and uniform noise."""

    def __init__(
        self,
        batch_shape: Sequence[int] = (),
        num_filters: Sequence[int] = (3, 3),
        init_scale: float = 10,
        alpha: float = 5.0,
    ) -> None:
        super().__init__(SoftRoundAdapter(DeepFactorized(batch_shape, num_filters, init_scale), alpha))
