"""Layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tinify.ops import NonNegativeParametrizer


class GroupGDN(nn.Module):
    """Each channel divided by the root of a learned sum of squares over its group; the inverse multiplies."""

    def __init__(self, in_channels: int, groups: int = 2, inverse: bool = False) -> None:
        super().__init__()
        self.groups, self.inverse = groups, inverse
        width = in_channels // groups
        self.beta_parametrizer, self.gamma_parametrizer = (
            NonNegativeParametrizer(minimum=1e-6),
            NonNegativeParametrizer(),
        )
        self.beta = nn.Parameter(self.beta_parametrizer.init(torch.ones(in_channels)))
        gamma = 0.1 * torch.eye(width).repeat(groups, 1)
        self.gamma = nn.Parameter(self.gamma_parametrizer.init(gamma))

    def forward(self, x: Tensor) -> Tensor:
        gamma = self.gamma_parametrizer(self.gamma)[:, :, None, None]
        norm = F.conv2d(x * x, gamma, self.beta_parametrizer(self.beta), groups=self.groups)
        return x * torch.sqrt(norm) if self.inverse else x * torch.rsqrt(norm)
