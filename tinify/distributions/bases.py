"""Symmetric distributions with a location and a scale, accurate in both tails."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.distributions import Laplace as PlainLaplace
from torch.distributions import Normal as PlainNormal
from torch.distributions.utils import broadcast_all
from torch.nn import functional as F


class _Symmetric:
    """What follows from the standard cumulative function of a symmetric family."""

    loc: Tensor
    scale: Tensor

    @staticmethod
    def _standard_log_cdf(z: Tensor) -> Tensor:
        raise NotImplementedError

    @staticmethod
    def _standard_reach(mass: float) -> float:
        """How far from the centre a tail of that mass begins."""
        raise NotImplementedError

    def log_cdf(self, x: Tensor) -> Tensor:
        """The natural logarithm of the probability of what is at most ``x``."""
        return self._standard_log_cdf((x - self.loc) / self.scale)

    def log_survival_function(self, x: Tensor) -> Tensor:
        """The natural logarithm of the probability of what is above ``x``."""
        return self._standard_log_cdf((self.loc - x) / self.scale)

    def survival_function(self, x: Tensor) -> Tensor:
        """The probability of what is above ``x``."""
        return torch.exp(self.log_survival_function(x))

    def _quantization_offset(self) -> Tensor:
        return self.loc

    def _lower_tail(self, tail_mass: float) -> Tensor:
        return self.loc - self.scale * self._standard_reach(tail_mass / 2)

    def _upper_tail(self, tail_mass: float) -> Tensor:
        return self.loc + self.scale * self._standard_reach(tail_mass / 2)


class Logistic(_Symmetric, Distribution):
    """The logistic distribution, whose cumulative function is ``sigmoid((x - loc) / scale)``.

    >>> Logistic(0.0, 2.0).cdf(torch.tensor(0.0)).item()
    0.5
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}  # noqa: RUF012 - as PyTorch has it
    support = constraints.real
    has_rsample = True

    def __init__(self, loc: Tensor | float, scale: Tensor | float, validate_args: bool | None = None) -> None:
        self.loc, self.scale = broadcast_all(loc, scale)
        super().__init__(self.loc.shape, validate_args=validate_args)

    @staticmethod
    def _standard_log_cdf(z: Tensor) -> Tensor:
        return F.logsigmoid(z)

    @staticmethod
    def _standard_reach(mass: float) -> float:
        return math.log((1 - mass) / mass)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return (self.scale * math.pi) ** 2 / 3

    def log_prob(self, value: Tensor) -> Tensor:
        z = (value - self.loc) / self.scale
        return F.logsigmoid(z) + F.logsigmoid(-z) - torch.log(self.scale)

    def cdf(self, value: Tensor) -> Tensor:
        return torch.sigmoid((value - self.loc) / self.scale)

    def icdf(self, value: Tensor) -> Tensor:
        return self.loc + self.scale * torch.logit(value)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        tiny = torch.finfo(self.loc.dtype).tiny
        return self.icdf(torch.rand(shape, dtype=self.loc.dtype, device=self.loc.device).clamp(min=tiny))


class _LogNdtr(torch.autograd.Function):
    """``torch.special.log_ndtr`` with its exact derivative: PyTorch's own is wrong from -100 on, and then infinite."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        ctx.save_for_backward(z)
        log_ndtr: Tensor = torch.special.log_ndtr(z)
        return log_ndtr

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (z,) = ctx.saved_tensors
        grad: Tensor = grads[0] * math.sqrt(2 / math.pi) / torch.special.erfcx(z * -math.sqrt(0.5))
        return grad


class Normal(_Symmetric, PlainNormal):
    """PyTorch's normal distribution with accurate tails.

    >>> round(Normal(0.0, 1.0).log_cdf(torch.tensor(-20.0)).item(), 3)
    -203.917
    """

    @staticmethod
    def _standard_log_cdf(z: Tensor) -> Tensor:
        log_ndtr: Tensor = _LogNdtr.apply(z)  # type: ignore[no-untyped-call]
        return log_ndtr

    @staticmethod
    def _standard_reach(mass: float) -> float:
        return -float(torch.special.ndtri(torch.tensor(mass, dtype=torch.float64)))


class Laplace(_Symmetric, PlainLaplace):
    """PyTorch's Laplace distribution with accurate tails.

    >>> round(Laplace(0.0, 1.0).log_cdf(torch.tensor(-100.0)).item(), 3)
    -100.693
    """

    @staticmethod
    def _standard_log_cdf(z: Tensor) -> Tensor:
        below = torch.clamp(z, max=0)
        return torch.where(z <= 0, below - math.log(2), torch.log1p(-0.5 * torch.exp(-torch.clamp(z, min=0))))

    @staticmethod
    def _standard_reach(mass: float) -> float:
        return -math.log(2 * mass)
