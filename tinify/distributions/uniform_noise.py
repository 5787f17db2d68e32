"""Distributions plus uniform noise of width one: the densities that stand for rounding in training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tinify.distributions.bases import Laplace, Logistic, Normal
from tinify.distributions.deep_factorized import DeepFactorized
from tinify.distributions.density import Density
from tinify.distributions.helpers import lower_tail, quantization_offset, upper_tail


class UniformNoiseAdapter(Density):
    """The distribution of a draw of ``base`` and uniform noise in [-0.5, 0.5).

    Its density at ``y`` is the mass that ``base`` has in the unit interval around ``y``, so at the integers (or these
    shifted alike) it is a probability mass function; a narrow base makes it a box, which a wide one smooths. It is
    computed in the tail where nothing is lost, with gradients that are finite however far out. ``base`` has ``log_cdf``
    and ``log_survival_function``; offset and tails are those of ``base``.
    Ballé et al., Variational Image Compression with a Scale Hyperprior, ICLR 2018, section 2.

    >>> noisy = UniformNoiseAdapter(Logistic(0.0, 1.0))
    >>> round(noisy.prob(torch.arange(-40.0, 41)).sum().item(), 6)
    1.0
    """

    def __init__(self, base: Any) -> None:
        super().__init__()
        self.base = base

    @property
    def batch_shape(self) -> torch.Size:
        shape: torch.Size = self.base.batch_shape
        return shape

    @property
    def mean(self) -> Tensor:
        """The mean of the base."""
        mean: Tensor = self.base.mean
        return mean

    @property
    def variance(self) -> Tensor:
        """The variance of the base and a twelfth."""
        variance: Tensor = self.base.variance + 1 / 12
        return variance

    def log_prob(self, y: Tensor) -> Tensor:
        below, above = y - 0.5, y + 0.5
        left, right = self.base.log_cdf(above), self.base.log_survival_function(above)
        tail = right < left  # of the two differences, that of the smaller numbers
        big = torch.where(tail, self.base.log_survival_function(below), left)
        small = torch.where(tail, right, self.base.log_cdf(below))
        return _log_difference(big, small)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        drawn: Tensor = self.base.sample(torch.Size(sample_shape))
        return drawn + torch.empty_like(drawn).uniform_(-0.5, 0.5)

    def _quantization_offset(self) -> Tensor:
        return quantization_offset(self.base)

    def _lower_tail(self, tail_mass: float) -> Tensor:
        return lower_tail(self.base, tail_mass)

    def _upper_tail(self, tail_mass: float) -> Tensor:
        return upper_tail(self.base, tail_mass)


def _log_difference(big: Tensor, small: Tensor) -> Tensor:
    """``log(exp(big) - exp(small))``, never ``inf - inf``; where both are equal, the logarithm of the least number."""
    lost = torch.isneginf(big)
    # Both branches of a where() are differentiated, so neither may hold what has no derivative.
    big_, small_ = torch.where(lost, 0.0, big), torch.where(lost | torch.isneginf(small), -1e3, small)
    step = torch.clamp(small_ - big_, max=-torch.finfo(big.dtype).tiny)
    near = torch.log(-torch.expm1(torch.where(step > -0.5, step, -0.5)))
    far = torch.log1p(-torch.exp(torch.where(step > -0.5, -0.5, step)))
    return torch.where(lost, big, big_ + torch.where(step > -0.5, near, far))


class NoisyLogistic(UniformNoiseAdapter):
    """A logistic distribution and uniform noise.

    >>> round(NoisyLogistic(0.0, 1.0).prob(torch.tensor(0.0)).item(), 6)  # tanh(1 / 4)
    0.244919
    """

    def __init__(self, loc: Tensor | float, scale: Tensor | float) -> None:
        super().__init__(Logistic(loc, scale))


class NoisyNormal(UniformNoiseAdapter):
    """A normal distribution and uniform noise."""

    def __init__(self, loc: Tensor | float, scale: Tensor | float) -> None:
        super().__init__(Normal(loc, scale))


class NoisyLaplace(UniformNoiseAdapter):
    """A Laplace distribution and uniform noise."""

    def __init__(self, loc: Tensor | float, scale: Tensor | float) -> None:
        super().__init__(Laplace(loc, scale))


class NoisyDeepFactorized(UniformNoiseAdapter):
    """A :class:`~tinify.distributions.DeepFactorized` and uniform noise; arguments are those of that class."""

    def __init__(
        self, batch_shape: Sequence[int] = (), num_filters: Sequence[int] = (3, 3), init_scale: float = 10
    ) -> None:
        super().__init__(DeepFactorized(batch_shape, num_filters, init_scale))
