"""Mixtures of one family, with uniform noise or without."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Categorical
from torch.distributions import MixtureSameFamily as PlainMixture

from tinify.distributions.bases import Logistic, Normal
from tinify.distributions.uniform_noise import UniformNoiseAdapter


class MixtureSameFamily(PlainMixture):
    """PyTorch's mixture, components along the last axis of their batch shape, with accurate tails."""

    component_distribution: Any

    def log_cdf(self, x: Tensor) -> Tensor:
        """The natural logarithm of the probability of what is at most ``x``."""
        return self._mix(self.component_distribution.log_cdf(x[..., None]))

    def log_survival_function(self, x: Tensor) -> Tensor:
        """The natural logarithm of the probability of what is above ``x``."""
        return self._mix(self.component_distribution.log_survival_function(x[..., None]))

    def _mix(self, log_components: Tensor) -> Tensor:
        weights = torch.log_softmax(self.mixture_distribution.logits, -1)
        return torch.logsumexp(weights + log_components, -1)


class NoisyMixtureSameFamily(UniformNoiseAdapter):
    """A mixture and uniform noise, its density summed over noisy components, none of which the others drown.

    ``components`` has ``log_cdf`` and ``log_survival_function``; its last batch axis is that of ``mixture``.
    """

    base: MixtureSameFamily

    def __init__(self, mixture: Categorical, components: Any) -> None:
        super().__init__(MixtureSameFamily(mixture, components, validate_args=False))

    def log_prob(self, y: Tensor) -> Tensor:
        noisy = UniformNoiseAdapter(self.base.component_distribution)
        return self.base._mix(noisy.log_prob(y[..., None]))

    def _quantization_offset(self) -> Tensor:
        """Of the centres of the components, that of the densest noisy mixture."""
        centres = self.base.component_distribution.loc
        densities = self.log_prob(centres.movedim(-1, 0)).movedim(0, -1)
        centre = torch.gather(centres, -1, densities.argmax(-1, keepdim=True))[..., 0]
        return centre - torch.round(centre)


class NoisyNormalMixture(NoisyMixtureSameFamily):
    """Normal distributions, weighed along the last axis, and uniform noise.

    >>> NoisyNormalMixture(torch.zeros(4, 3), torch.ones(4, 3), torch.ones(4, 3)).batch_shape
    torch.Size([4])
    """

    def __init__(self, loc: Tensor, scale: Tensor, weight: Tensor) -> None:
        super().__init__(Categorical(probs=weight), Normal(loc, scale))


class NoisyLogisticMixture(NoisyMixtureSameFamily):
    """Logistic distributions, weighed along the last axis, and uniform noise."""

    def __init__(self, loc: Tensor, scale: Tensor, weight: Tensor) -> None:
        super().__init__(Categorical(probs=weight), Logistic(loc, scale))
