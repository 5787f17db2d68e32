"""What all distributions that are no plain ones of PyTorch share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Density(nn.Module):
    """A distribution of one scalar for each element of ``batch_shape``, as a module: its parameters are trained.

    A subclass offers ``log_cdf``, ``log_survival_function``, ``log_prob`` and ``sample``, as far as it can, and may set
    where values are best rounded and where the tails begin by the three methods with an underscore.
    """

    event_shape = torch.Size()

    @property
    def batch_shape(self) -> torch.Size:
        """The shape of a sample."""
        raise NotImplementedError

    def log_prob(self, y: Tensor) -> Tensor:
        """The natural logarithm of the density at ``y``, which broadcasts against ``batch_shape``."""
        raise NotImplementedError

    def prob(self, y: Tensor) -> Tensor:
        """The density at ``y``."""
        return torch.exp(self.log_prob(y))

    def log_cdf(self, y: Tensor) -> Tensor:
        """The natural logarithm of the probability of what is at most ``y``."""
        raise NotImplementedError

    def log_survival_function(self, y: Tensor) -> Tensor:
        """The natural logarithm of the probability of what is above ``y``."""
        raise NotImplementedError

    def cdf(self, y: Tensor) -> Tensor:
        """The probability of what is at most ``y``."""
        return torch.exp(self.log_cdf(y))

    def survival_function(self, y: Tensor) -> Tensor:
        """The probability of what is above ``y``."""
        return torch.exp(self.log_survival_function(y))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draws of shape ``sample_shape + batch_shape``, without gradient."""
        raise NotImplementedError

    def forward(self, y: Tensor) -> Tensor:
        """``log_prob``."""
        return self.log_prob(y)
