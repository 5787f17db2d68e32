"""Entropy models."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from tinify.coders import CdfTables, pmf_to_quantized_cdf
from tinify.entropy_models import EntropyModel
from tinify.ops import LowerBound, scale_indexes

TAIL = 1e-9


def cumulative(x: Tensor) -> Tensor:
    """The standard Laplacian's cumulative function."""
    tail = 0.5 * torch.exp(-torch.abs(x))
    return torch.where(x < 0, tail, 1 - tail)


class LaplaceConditional(EntropyModel):
    """A Laplacian with a predicted scale and mean for each element, integrated over the unit interval."""

    scale_table: Tensor

    def __init__(self, channels: int, scale_min: float = 0.08, scale_max: float = 128.0, levels: int = 48) -> None:
        super().__init__()
        self.lower_bound_scale = LowerBound(scale_min)
        steps = torch.linspace(math.log(scale_min), math.log(scale_max), levels)
        self.register_buffer("scale_table", torch.exp(steps))

    def centre(self, size: torch.Size, *params: Tensor) -> Tensor:
        return params[1]

    def indexes(self, size: torch.Size, *params: Tensor) -> Tensor:
        found: Tensor = scale_indexes(self.lower_bound_scale(params[0].float()), self.scale_table)
        return found

    def forward(self, y: Tensor, scales: Tensor, means: Tensor, training: bool | None = None) -> tuple[Tensor, Tensor]:
        training = self.training if training is None else training
        y, scales, means = y.float(), self.lower_bound_scale(scales.float()), means.float()
        y_hat = self.quantize(y, "noise" if training else "dequantize", means)
        distance = torch.abs(y_hat - means)
        likelihood = cumulative((0.5 - distance) / scales) - cumulative((-0.5 - distance) / scales)
        return y_hat, self.bounded(likelihood)

    def build_tables(self) -> CdfTables:
        scales = self.scale_table.cpu().double()
        reach = torch.ceil(scales * -math.log(TAIL)).int()
        rows = np.zeros((len(scales), 2 * int(reach.max()) + 3), np.int32)
        for row, scale, far in zip(rows, scales, reach.tolist(), strict=True):
            edges = cumulative((torch.arange(-far, far + 2) - 0.5) / scale).numpy()
            pmf = np.append(np.diff(edges), 2 * edges[0])
            row[: len(pmf) + 1] = pmf_to_quantized_cdf(pmf)
        return CdfTables(rows, (2 * reach + 3).numpy(), -reach.numpy())
