"""Losses."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tinify.losses import bits_per_pixel


class CharbonnierLoss(nn.Module):
    """``bpp + lmbda * 255 * mean(sqrt((x_hat - x)**2 + epsilon**2))`` (Charbonnier et al., ICIP 1994)."""

    def __init__(self, lmbda: float = 0.01, epsilon: float = 1e-3) -> None:
        super().__init__()
        self.lmbda, self.epsilon = lmbda, epsilon

    def forward(self, output: dict[str, Any], target: Tensor) -> dict[str, Tensor]:
        rate = bits_per_pixel(output, target)
        distance = torch.sqrt((output["x_hat"].float() - target) ** 2 + self.epsilon**2).mean()
        return {"bpp_loss": rate, "charbonnier_loss": distance, "loss": rate + self.lmbda * 255 * distance}
