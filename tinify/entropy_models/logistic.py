"""A logistic density of a learned width for each channel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tinify.coders import CdfTables
from tinify.distributions import Logistic, UniformNoiseAdapter
from tinify.entropy_models.base import EntropyModel, full_precision
from tinify.entropy_models.continuous import tables_of


class LogisticPrior(EntropyModel):
    """Zero-mean logistic densities with uniform noise, one scale ``exp(log_scales)`` for each channel.

    ``forward(y)`` takes (batch, channels, ...) and returns ``(y_hat, likelihood)``, both like ``y``: with uniform noise
    in training mode, else rounded. ``tail_mass`` is the probability left outside the tables.

    >>> _, likelihood = LogisticPrior(10).eval()(torch.zeros(1, 10, 1, 1))
    >>> round(-torch.log2(likelihood).sum().item(), 3)
    20.296
    """

    def __init__(self, channels: int, tail_mass: float = 1e-6, likelihood_bound: float = 1e-9) -> None:
        super().__init__(likelihood_bound)
        self.channels = channels
        self.tail_mass = float(tail_mass)
        self.log_scales = nn.Parameter(torch.zeros(channels))

    def prior(self) -> UniformNoiseAdapter:
        """The distribution of the channels, as the parameters are now."""
        scales = torch.exp(self.log_scales)  # positive: nothing to validate, which meta tensors could not be
        return UniformNoiseAdapter(Logistic(0.0, scales, validate_args=False))

    def centre(self, size: torch.Size, *params: Tensor) -> None:
        return None

    def indexes(self, size: torch.Size, *params: Tensor) -> Tensor:
        channel = torch.arange(self.channels, dtype=torch.int32, device=self.log_scales.device)
        return channel.reshape(1, -1, *[1] * (len(size) - 2)).expand(size)

    def forward(self, y: Tensor, training: bool | None = None) -> tuple[Tensor, Tensor]:
        training = self.training if training is None else training
        if training:
            self.forget_tables()
        with full_precision(y):
            y_hat = self.quantize(y.float(), "noise" if training else "dequantize")
            likelihood = self.prior().prob(y_hat.movedim(1, -1)).movedim(-1, 1)
            return y_hat, self.bounded(likelihood)

    def build_tables(self) -> CdfTables:
        return tables_of(self.prior(), 0.0, self.tail_mass)
