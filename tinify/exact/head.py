"""From what a network predicts to a row of the coding tables, by thresholds."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

THRESHOLD_BITS = 16
"""Thresholds are multiples of 2^-16."""


class IndexHead(nn.Module):
    """The scale of the table's row that a predicted number chooses: comparisons alone.

    ``forward(predicted)`` counts the thresholds below each number, and returns ``scales`` of that count, float32. It
    takes the place of a link such as softplus, which no two libraries compute alike.

    >>> head = IndexHead(3)
    >>> head.fit(torch.nn.functional.softplus, torch.tensor([1.0, 2.0, 4.0]), 1.0)
    >>> head(torch.tensor([-5.0, 1.0, 3.0])).tolist()
    [1.0, 2.0, 4.0]
    """

    thresholds: Tensor
    scales: Tensor

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.register_buffer("thresholds", torch.zeros(levels - 1, dtype=torch.int32))
        self.register_buffer("scales", torch.zeros(levels))

    def fit(self, link: Callable[[Tensor], Tensor], scales: Tensor, lowest: float) -> None:
        """Takes the thresholds of a rising link to ``scales``, none of which is used below ``lowest``."""
        wanted = scales[:-1].double().cpu()
        low, high = torch.full_like(wanted, -(2.0**15)), torch.full_like(wanted, 2.0**15 - 1)
        for _ in range(64):  # the link rises, so bisection finds where it reaches a scale
            middle = (low + high) / 2
            below = link(middle) <= wanted
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        # Thresholds that float32 holds, so that it can compare with them.
        found = torch.round(low * 2**THRESHOLD_BITS).float().double()
        # A scale below the lowest is passed over: whatever is predicted, the next is taken.
        never = scales[:-1].cpu() < lowest
        self.thresholds = torch.where(never, torch.full_like(found, -(2.0**31)), found).to(self.thresholds)
        self.scales = scales.detach().clamp(min=float(scales[int(never.sum())])).to(self.scales)

    def forward(self, predicted: Tensor) -> Tensor:
        edges = self.thresholds.float().mul_(2.0**-THRESHOLD_BITS)
        row = torch.bucketize(predicted.contiguous(), edges)
        return self.scales[row]
