"""The conditional Gaussian: scales, and perhaps means, predicted for every element."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tinify.coders import CdfTables, pmfs_to_quantized_cdfs
from tinify.entropy_models.base import EntropyModel, full_precision
from tinify.errors import InputError
from tinify.ops import (
    LowerBound,
    gaussian_likelihood,
    has_kernel,
    normal_cumulative,
    quantize_indexes,
    scale_indexes,
)

SCALES_MIN, SCALES_MAX, SCALES_LEVELS = 0.11, 256.0, 64


def get_scale_table(low: float = SCALES_MIN, high: float = SCALES_MAX, levels: int = SCALES_LEVELS) -> Tensor:
    """``levels`` scales from ``low`` to ``high`` in even logarithmic steps, float32.

    >>> get_scale_table(1, 4, 3).tolist()
    [1.0, 2.0, 4.0]
    """
    return torch.exp(torch.linspace(math.log(low), math.log(high), levels, device="cpu"))


class GaussianConditional(EntropyModel):
    """A Gaussian with the given scale (and mean) for every element, integrated over the unit interval.

    ``forward(y, scales, means=None)`` returns ``(y_hat, likelihood)``, all of one size, (batch, channels, height,
    width): in training mode with uniform noise, else rounded around the means. For coding a scale is rounded up to the
    next of ``scale_table``.
    Ballé et al., ICLR 2018, and Minnen et al., NeurIPS 2018.

    >>> model = GaussianConditional(None)
    >>> _, likelihood = model.eval()(torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1))
    >>> round(float(likelihood), 4)
    0.3829
    """

    scale_table: Tensor
    scale_bound: Tensor

    def __init__(
        self,
        scale_table: Sequence[float] | None,
        scale_bound: float = SCALES_MIN,
        tail_mass: float = 1e-9,
        likelihood_bound: float = 1e-9,
    ) -> None:
        super().__init__(likelihood_bound)
        table = get_scale_table() if scale_table is None else self._checked(scale_table)
        if not scale_bound > 0:
            raise InputError(f"scale_bound must be positive, got {scale_bound!r}")
        self.tail_mass = float(tail_mass)
        self.lower_bound_scale = LowerBound(scale_bound)
        self.register_buffer("scale_table", table.to(torch.get_default_device()))
        self.register_buffer("scale_bound", torch.tensor([float(scale_bound)]))

    def centre(self, size: torch.Size, *params: Tensor) -> Tensor | None:
        return params[1] if len(params) > 1 else None

    def indexes(self, size: torch.Size, *params: Tensor) -> Tensor:
        return self.build_indexes(params[0])

    def quantized(self, y: Tensor, *params: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        if not has_kernel("quantize_indexes", y.device) or type(self).centre is not GaussianConditional.centre:
            return super().quantized(y, *params)
        scales, means = params[0].float(), params[1].float() if len(params) > 1 else None
        symbols, rows, y_hat = quantize_indexes(y, scales, means, self.lower_bound_scale.bound, self.scale_table)
        return symbols, y_hat, rows

    def build_indexes(self, scales: Tensor) -> Tensor:
        """The row of the tables for every scale, int32: how many entries but the last lie strictly below it."""
        indexes: Tensor = scale_indexes(self.lower_bound_scale(scales.float()), self.scale_table)
        return indexes

    def likelihood(self, inputs: Tensor, scales: Tensor, means: Tensor | None = None) -> Tensor:
        """The mass of the unit interval around ``inputs``."""
        given = [inputs, self.lower_bound_scale(scales), *(() if means is None else (means,))]
        inputs, scales, *means_ = torch.broadcast_tensors(*given)  # type: ignore[no-untyped-call]
        return gaussian_likelihood(inputs, scales, means_[0] if means_ else None)

    def forward(
        self, inputs: Tensor, scales: Tensor, means: Tensor | None = None, training: bool | None = None
    ) -> tuple[Tensor, Tensor]:
        training = self.training if training is None else training
        with full_precision(inputs):
            inputs, scales = inputs.float(), scales.float()
            means = None if means is None else means.float()
            y_hat = self.quantize(inputs, "noise" if training else "dequantize", means)
            return y_hat, self.bounded(self.likelihood(y_hat, scales, means))

    def update_scale_table(self, scale_table: Sequence[float] | Tensor, force: bool = False) -> bool:
        """Takes another scale table and builds the coding tables; without ``force`` only if there are none."""
        if self.has_tables and not force:
            return False
        self.scale_table = self._checked(scale_table).to(self.scale_table.device)
        return self.update(force=True)

    def build_tables(self) -> CdfTables:
        reach = -float(torch.special.ndtri(torch.tensor(self.tail_mass / 2, dtype=torch.float64)))
        centre = torch.ceil(self.scale_table.cpu() * reach).int()
        length = 2 * centre + 1
        samples = torch.abs(torch.arange(int(length.max()))[None] - centre[:, None]).float()
        scales = self.scale_table.cpu()[:, None]
        lower = normal_cumulative((-0.5 - samples) / scales)
        pmf = (normal_cumulative((0.5 - samples) / scales) - lower).numpy()
        tail = (2 * lower[:, :1]).numpy()
        rows = pmfs_to_quantized_cdfs(pmf, tail, length.numpy())
        return CdfTables(rows, length.numpy() + 2, -centre.numpy())

    @staticmethod
    def _checked(scale_table: Sequence[float] | Tensor) -> Tensor:
        table = torch.tensor([float(s) for s in scale_table], device="cpu")
        if table.numel() < 1 or bool((table <= 0).any()) or bool((table[1:] <= table[:-1]).any()):
            raise InputError(f"scale_table must hold at least one scale, positive and rising; got {scale_table!r}")
        return table

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        # The field keeps an empty scale table until its models are updated: then ours, the same, stays.
        saved = state_dict.get(prefix + "scale_table")
        if saved is not None and not saved.numel():
            state_dict[prefix + "scale_table"] = self.scale_table
        elif saved is not None:
            self.scale_table = torch.empty_like(saved, device=self.scale_table.device)
        super()._load_from_state_dict(state_dict, prefix, *args)


def gaussian_conditional(
    channels: int,
    scale_min: float = SCALES_MIN,
    scale_max: float = SCALES_MAX,
    levels: int = SCALES_LEVELS,
    tail_mass: float = 1e-9,
) -> GaussianConditional:
    """A :class:`GaussianConditional` over the scale table of those bounds; the channel count is ignored."""
    table = get_scale_table(scale_min, scale_max, levels)
    return GaussianConditional(table.tolist(), scale_bound=scale_min, tail_mass=tail_mass)
