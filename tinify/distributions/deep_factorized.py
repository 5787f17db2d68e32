"""A learned, monotone cumulative function for each element."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tinify.distributions.density import Density
from tinify.distributions.helpers import estimate_tails


class DeepFactorized(Density):
    """A distribution for each element of ``batch_shape``, whose cumulative function is a small monotone network.

    ``num_filters`` are the widths of its hidden layers (without any it is a logistic distribution), ``init_scale`` how
    wide it is at first, about. Ballé et al., ICLR 2018, appendix 6.1.

    >>> DeepFactorized((3,)).log_prob(torch.zeros(5, 3)).shape
    torch.Size([5, 3])
    """

    def __init__(
        self, batch_shape: Sequence[int] = (), num_filters: Sequence[int] = (3, 3), init_scale: float = 10
    ) -> None:
        super().__init__()
        self._batch_shape = torch.Size(batch_shape)
        self.num_filters = tuple(num_filters)
        channels, widths = self._batch_shape.numel(), (1, *self.num_filters, 1)
        scale = float(init_scale) ** (1 / (len(widths) - 1))
        self.matrices, self.biases, self.factors = nn.ParameterList(), nn.ParameterList(), nn.ParameterList()
        for narrow, wide in pairwise(widths):
            start = 1 / (scale * wide)
            start = math.log(math.expm1(start)) if start < 15 else start
            self.matrices.append(nn.Parameter(torch.full((channels, wide, narrow), start)))
            self.biases.append(nn.Parameter(torch.empty(channels, wide, 1).uniform_(-0.5, 0.5)))
        for wide in self.num_filters:
            self.factors.append(nn.Parameter(torch.zeros(channels, wide, 1)))

    @property
    def batch_shape(self) -> torch.Size:
        return self._batch_shape

    def logits_cdf(self, y: Tensor) -> Tensor:
        """The logits of the cumulative function at ``y``, which broadcasts against ``batch_shape``."""
        return self._walk(y)[0]

    def _walk(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """The logits at ``y``, and their derivative."""
        shape = torch.broadcast_shapes(y.shape, self._batch_shape)  # type: ignore[no-untyped-call]
        rank = len(self._batch_shape)
        wide = y.expand(shape)
        rows = wide.reshape(shape[: len(shape) - rank].numel(), -1).t()[:, None]  # (channels, 1, n)
        slope = torch.ones_like(rows)
        for matrix, bias, factor in zip(self.matrices, self.biases, [*self.factors, None], strict=True):
            weight = F.softplus(matrix).to(rows.dtype)
            rows, slope = weight @ rows + bias.to(rows.dtype), weight @ slope
            if factor is not None:
                bend, tanh = torch.tanh(factor).to(rows.dtype), torch.tanh(rows)
                rows, slope = rows + bend * tanh, slope * (1 + bend * (1 - tanh**2))
        return rows[:, 0].t().reshape(shape), slope[:, 0].t().reshape(shape)

    def log_cdf(self, y: Tensor) -> Tensor:
        return F.logsigmoid(self.logits_cdf(y))

    def log_survival_function(self, y: Tensor) -> Tensor:
        return F.logsigmoid(-self.logits_cdf(y))

    def log_prob(self, y: Tensor) -> Tensor:
        logits, slope = self._walk(y)
        return F.logsigmoid(logits) + F.logsigmoid(-logits) + torch.log(slope)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = torch.Size(sample_shape) + self._batch_shape
        uniform = torch.rand(shape, dtype=torch.float64).clamp(min=1e-15)
        return self._solve(torch.logit(uniform), shape)

    def _solve(self, logits: Tensor | float, shape: torch.Size) -> Tensor:
        like = self.matrices[0]
        solved = estimate_tails(lambda y: self.logits_cdf(y.to(like.device)).cpu(), logits, shape, torch.float64)
        return solved.to(like)

    def _quantization_offset(self) -> Tensor:
        return self._solve(0.0, self._batch_shape)

    def _lower_tail(self, tail_mass: float) -> Tensor:
        return self._solve(math.log(tail_mass / 2) - math.log1p(-tail_mass / 2), self._batch_shape)

    def _upper_tail(self, tail_mass: float) -> Tensor:
        return self._solve(math.log1p(-tail_mass / 2) - math.log(tail_mass / 2), self._batch_shape)
