"""PointNet++: what lies around points of a set, as features of fewer points."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layers import runs
from .sets import farthest_point_sample, index_points, query_ball_point


class SharedMlp(nn.Module):
    """Dense layers with batch normalisation over (batch, channels, points, neighbours), then the largest of each."""

    def __init__(self, in_channels: int, out: Sequence[int]) -> None:
        super().__init__()
        widths = [in_channels, *out]
        self.mlp_convs = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in pairwise(widths))
        self.mlp_bns = nn.ModuleList(nn.BatchNorm2d(width) for width in out)

    def forward(self, grouped: Tensor) -> Tensor:
        for conv, norm in zip(self.mlp_convs, self.mlp_bns, strict=True):
            grouped = F.relu(norm(conv(grouped)))
        return grouped.amax(3)


class SetAbstraction(SharedMlp):
    """One point in ``ratio``, far from one another, each with features of its neighbours within ``radius``.

    Sets are (batch, 3 + features, points), positions first. Neighbours are at most ``neighbours``, by their places as
    seen from the point and their features.
    Qi, Yi, Su, Guibas: PointNet++: Deep Hierarchical Feature Learning on Point Sets in a Metric Space, NeurIPS 2017.

    >>> SetAbstraction(3, [8, 16], ratio=4, radius=0.5, neighbours=6)(torch.rand(2, 3, 32)).shape
    torch.Size([2, 19, 8])
    """

    def __init__(self, in_channels: int, out: Sequence[int], ratio: int, radius: float, neighbours: int) -> None:
        super().__init__(in_channels, out)
        self.ratio, self.radius, self.neighbours = ratio, radius, neighbours

    def forward(self, x: Tensor) -> Tensor:
        points = x.transpose(1, 2)
        xyz = points[..., :3].contiguous()
        centres = index_points(xyz, farthest_point_sample(xyz, max(1, x.shape[2] // self.ratio)))
        near = query_ball_point(self.radius, self.neighbours, xyz, centres)
        grouped = index_points(points, near)
        local = torch.cat([grouped[..., :3] - centres[:, :, None], grouped[..., 3:]], 3)
        features = super().forward(local.permute(0, 3, 1, 2))
        return torch.cat([centres.transpose(1, 2), features], 1)

    def extra_repr(self) -> str:
        return f"ratio={self.ratio}, radius={self.radius}, neighbours={self.neighbours}"


class SetPool(SharedMlp):
    """Features of every run of ``points``, of all of a set where it has so many; positions go in, and are gone.

    Qi et al., NeurIPS 2017.
    """

    def __init__(self, in_channels: int, out: Sequence[int], points: int) -> None:
        super().__init__(in_channels, out)
        self.points = points

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(runs(x, self.points))

    def extra_repr(self) -> str:
        return f"points={self.points}"
