"""Declarations of the entropy models."""

from __future__ import annotations

from typing import Annotated

from tinify.plugin import Cost, Range, ShapeError, Sig, component

TailMass = Annotated[float, Range(1e-15, 0.1)]
Positive = Annotated[float, Range(1e-6, 1e6)]


@component("entropy_model", "entropy_bottleneck", target="tinify.entropy_models:EntropyBottleneck")
class EntropyBottleneck:
    """Fully factorized prior: one learned density for each channel (Ballé et al. 2018)."""

    tail_mass: TailMass = 1e-9
    init_scale: Positive = 10.0

    def cost(self, x: Sig) -> Cost:
        matrices, biases, factors, quantiles = 3 + 3 * 9 + 3, 4 * 3 + 1, 4 * 3, 3
        return Cost(x.channels * (matrices + biases + factors + quantiles))


@component("entropy_model", "logistic_prior", target="tinify.entropy_models:LogisticPrior")
class LogisticPrior:
    """Zero-mean logistic density of a learned width for each channel."""

    tail_mass: TailMass = 1e-6

    def cost(self, x: Sig) -> Cost:
        return Cost(x.channels)


@component("entropy_model", "gaussian_conditional", target="tinify.entropy_models:gaussian_conditional")
class GaussianConditional:
    """Gaussian whose scale, and perhaps mean, is predicted for each element (Ballé et al. 2018)."""

    scale_min: Positive = 0.11
    scale_max: Positive = 256.0
    levels: Annotated[int, Range(2, 4096)] = 64
    tail_mass: TailMass = 1e-9

    def shape(self, x: Sig, params: Sig | None = None) -> Sig:
        if params not in (x, None):
            raise ShapeError(f"a Gaussian takes a scale, and perhaps a mean, for each element of {x}; got {params}")
        return x

    def cost(self, x: Sig, params: Sig | None = None) -> Cost:
        return Cost()


@component("entropy_model", "gaussian_mixture", target="tinify.entropy_models:gaussian_mixture")
class GaussianMixture:
    """Mixture of Gaussians whose scales, means and weights are predicted for each element (Cheng et al. 2020)."""

    components: Annotated[int, Range(2, 64)] = 3
    scale_min: Positive = 0.11
    scale_max: Positive = 256.0
    levels: Annotated[int, Range(2, 4096)] = 64
    tail_mass: TailMass = 1e-9

    def shape(self, x: Sig, params: Sig | None = None) -> Sig:
        if params not in (x.with_channels(self.components * x.channels), None):
            raise ShapeError(
                f"a mixture of {self.components} takes {self.components * x.channels} scales, means and weights for "
                f"the {x.channels} channels of {x}; got {params}"
            )
        return x

    def cost(self, x: Sig, params: Sig | None = None) -> Cost:
        return Cost()


ENTROPY_MODELS = (EntropyBottleneck, LogisticPrior, GaussianConditional, GaussianMixture)
