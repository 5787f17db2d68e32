"""Fewer points that know how many they stand for, where these lie, and what they knew."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .sets import farthest_point_sample, index_points, nearest_neighbours


class DensityDown(nn.Module):
    """One point in ``ratio``, far from one another, with features of those that are nearer to it than to the others.

    Sets are (batch, 3 + features, points), positions first. Three embeddings of the points that a point stands for, of
    the ``neighbours`` nearest at most: their features, by attention; the directions and distances that they lie in; and
    how many they are.
    He, Ren, Tang, Zhang, Xue, Fu: Density-preserving Deep Point Cloud Compression, CVPR 2022, section 3.1.

    >>> DensityDown(3 + 8, ratio=3)(torch.rand(2, 11, 30)).shape
    torch.Size([2, 11, 10])
    """

    def __init__(self, in_channels: int, ratio: int = 3, hidden: int = 64, neighbours: int = 16) -> None:
        super().__init__()
        features = in_channels - 3
        self.ratio, self.neighbours = ratio, neighbours
        self.pre_conv = nn.Conv1d(features, features, 1)
        self.embed_features = FeatureEmbedding(features, hidden)
        self.embed_positions = PositionEmbedding(features, hidden)
        self.embed_densities = DensityEmbedding(features, hidden)
        self.post_conv = nn.Conv1d(3 * features, features, 1)

    def forward(self, x: Tensor) -> Tensor:
        xyz, features = x[:, :3].transpose(1, 2).contiguous(), self.pre_conv(x[:, 3:])
        kept = farthest_point_sample(xyz, max(1, round(x.shape[2] / self.ratio)))
        centres = index_points(xyz, kept)
        _, near = nearest_neighbours(centres, xyz, min(self.neighbours, x.shape[2]))
        owner = nearest_neighbours(xyz, centres, 1)[1]
        own = index_points(owner, near)[..., 0] == torch.arange(kept.shape[1], device=x.device)[:, None]
        own[..., 0] = True  # of points in one place, one may own all others
        offset = (index_points(xyz, near) - centres[:, :, None]).permute(0, 3, 1, 2)
        embedded = [
            self.embed_features(features, kept, near, offset, own),
            self.embed_positions(offset, own),
            self.embed_densities(own.sum(2, keepdim=True).transpose(1, 2).to(x.dtype)),
        ]
        before = x[:, 3:].gather(2, kept[:, None].expand(-1, x.shape[1] - 3, -1))
        return torch.cat([centres.transpose(1, 2), before + self.post_conv(torch.cat(embedded, 1))], 1)

    def extra_repr(self) -> str:
        return f"ratio={self.ratio}, neighbours={self.neighbours}"


class FeatureEmbedding(nn.Module):
    """Attention of a point to its own, with their offsets in the weights and in the values.

    Zhao, Jiang, Jia, Torr, Koltun: Point Transformer, ICCV 2021.
    """

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.w_qs, self.w_ks, self.w_vs = (nn.Conv1d(features, hidden, 1) for _ in range(3))
        self.conv_delta, self.conv_gamma = _dense(3, hidden, hidden), _dense(hidden, hidden, hidden)
        self.post_conv = nn.Conv1d(hidden, features, 1)

    def forward(self, features: Tensor, kept: Tensor, near: Tensor, offset: Tensor, own: Tensor) -> Tensor:
        before = index_points(features.transpose(1, 2), kept).transpose(1, 2)
        query = self.w_qs(before).transpose(1, 2)[:, :, None]
        key, value = (index_points(w(features).transpose(1, 2), near) for w in (self.w_ks, self.w_vs))
        place = self.conv_delta(-offset)
        weights = self.conv_gamma((query - key).permute(0, 3, 1, 2) + place)
        made = attended(weights / weights.shape[1] ** 0.5, value.permute(0, 3, 1, 2) + place, own)
        return before + self.post_conv(made)  # type: ignore[no-any-return]


class PositionEmbedding(nn.Module):
    """The directions and distances of a point's own, weighed by attention. He et al., CVPR 2022."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.embed_positions, self.attention = _dense(4, hidden, features), _dense(features, hidden, features)

    def forward(self, offset: Tensor, own: Tensor) -> Tensor:
        # A gradient of the root at zero would be infinite, and every point is its own neighbour.
        distance = offset.square().sum(1, keepdim=True).clamp_min(1e-12).sqrt()
        embedded = self.embed_positions(torch.cat([offset / distance, distance], 1))
        return attended(self.attention(embedded), embedded, own)


class DensityEmbedding(nn.Module):
    """How many points one stands for. He et al., CVPR 2022."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.embed_densities = nn.Sequential(
            nn.Conv1d(1, hidden, 1), nn.GroupNorm(1, hidden), nn.ReLU(), nn.Conv1d(hidden, features, 1)
        )

    def forward(self, count: Tensor) -> Tensor:
        embedded: Tensor = self.embed_densities(count)
        return embedded


def attended(weights: Tensor, values: Tensor, own: Tensor) -> Tensor:
    """The mean of values (batch, channels, points, neighbours) by the softmax of weights, over a point's own."""
    scores = weights.masked_fill(~own[:, None], -torch.inf)
    return (F.softmax(scores, 3) * values).sum(3)


def _dense(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, hidden, 1), nn.GroupNorm(1, hidden), nn.ReLU(), nn.Conv2d(hidden, outputs, 1)
    )
