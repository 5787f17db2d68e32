"""Density-preserving compression: points merge into fewer, and part again into as many as they were."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tinify.latent_codecs import LatentCodec
from tinify.latent_codecs.stream import Stream

from .density import counts
from .flow import PointSetModel
from .sets import index_points, nearest_neighbours


class DensityPreserving(PointSetModel):
    """Clouds through levels of fewer points, the last of which is coded, positions and features.

    Back at each level a point proposes children: ``weights`` of :func:`directions` and a ``scale`` say where, from it,
    ``features`` what they know, and ``number`` how many of them stay; ``refine_weights``, ``refine_scale`` and
    ``refine_features`` then move those that do. Clouds may have any number of points, and decode to about as many.

    Beside ``x_hat`` a forward returns, for the loss, by level from 0, the cloud itself, to the last: ``gt_xyz_`` and
    ``xyz_hat_`` (batch, 3, points), what the encoder had and the decoder has; ``gt_latent_xyz`` and
    ``latent_xyz_hat``; and of the points of each level below 0 ``gt_downsample_num_``, ``upsample_num_hat_``,
    ``gt_mean_distance_``, ``mean_distance_hat_`` (batch, points): how many they stand for and how far these are.
    He, Ren, Tang, Zhang, Xue, Fu: Density-preserving Deep Point Cloud Compression, CVPR 2022.
    """

    exact = False

    def __init__(
        self,
        embed: nn.Module,
        down: Sequence[nn.Module],
        feat: LatentCodec,
        xyz_analysis: nn.Module,
        xyz: LatentCodec,
        xyz_synthesis: nn.Module,
        weights: Sequence[nn.Module],
        scale: Sequence[nn.Module],
        features: Sequence[nn.Module],
        number: Sequence[nn.Module],
        refine_weights: Sequence[nn.Module],
        refine_scale: Sequence[nn.Module],
        refine_features: Sequence[nn.Module],
        ratios: Sequence[int] = (3, 3, 3),
        candidates: int = 8,
    ) -> None:
        super().__init__()
        self.embed, self.down = embed, nn.ModuleList(down)
        self.feat, self.xyz_analysis, self.xyz, self.xyz_synthesis = feat, xyz_analysis, xyz, xyz_synthesis
        self.weights, self.scale, self.features = map(nn.ModuleList, (weights, scale, features))
        self.number = nn.ModuleList(number)
        self.refine_weights, self.refine_scale, self.refine_features = map(
            nn.ModuleList, (refine_weights, refine_scale, refine_features)
        )
        self.ratios, self.candidates = tuple(ratios), candidates
        self.register_buffer("directions", directions(), persistent=False)

    def code(self, x: Tensor | None, stream: Stream) -> dict[str, Any]:
        told = {} if x is None else self._encode(x)
        last = told.get("gt_latent_xyz")
        y = None if last is None else self.xyz_analysis(last)
        latent_xyz_hat: Tensor = self.xyz_synthesis(self.xyz.code(y, None, stream.at("latent_xyz")))
        feat_hat = self.feat.code(told.get("feat"), None, stream.at("latent_feat"))
        made = self._decode(latent_xyz_hat, feat_hat)
        return {**told, "latent_xyz_hat": latent_xyz_hat, "feat_hat": feat_hat, **made}

    def latents(self) -> list[str]:
        return ["latent_xyz", "latent_feat"]

    def _encode(self, x: Tensor) -> dict[str, Any]:
        points = torch.cat([x, self.embed(x)], 1)
        levels = [x]
        numbers, distances = [], []
        for down in self.down:
            points = down(points)
            count, distance = density(levels[-1], points[:, :3])
            levels.append(points[:, :3])
            numbers.append(count)
            distances.append(distance)
        told = {"gt_xyz_": levels, "gt_downsample_num_": numbers, "gt_mean_distance_": distances}
        return {**told, "gt_latent_xyz": levels[-1], "feat": points[:, 3:]}

    def _decode(self, xyz: Tensor, features: Tensor) -> dict[str, Any]:
        levels, numbers, distances = [xyz], [], []
        for k in range(len(self.ratios) - 1, -1, -1):
            number = 1 + (self.candidates - 1) * torch.sigmoid(self.number[k](features)[:, 0])
            offset = self._offset(self.weights[k](features), self.scale[k](features))
            kept = chosen(number, self.candidates, self.ratios[k])
            # The children of one point stand together, and the first of them stay.
            numbers.append(number)
            distances.append(_mean_length(offset, number, self.candidates))
            xyz = xyz.repeat_interleave(self.candidates, 2) + offset
            xyz, features = (_at(one, kept) for one in (xyz, self.features[k](features)))
            xyz = xyz + self._offset(self.refine_weights[k](features), self.refine_scale[k](features))
            features = self.refine_features[k](features)
            levels.append(xyz)
        made = {"xyz_hat_": levels, "upsample_num_hat_": numbers, "mean_distance_hat_": distances}
        return {**{name: found[::-1] for name, found in made.items()}, "x_hat": xyz}

    def _offset(self, weights: Tensor, scale: Tensor) -> Tensor:
        """Offsets (batch, 3, points): a mean of the directions, made as long as ``scale`` says."""
        mean = torch.einsum("bdn,dc->bcn", F.softmax(weights, 1), self.directions.to(weights.dtype))
        return F.normalize(mean, dim=1) * scale


def density(xyz: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """How many of ``xyz`` (batch, 3, points) are nearest to each of ``centres``, and how far in the mean."""
    squares, owner = nearest_neighbours(xyz.detach().transpose(1, 2), centres.detach().transpose(1, 2), 1)
    count = counts(owner[..., 0], centres.shape[2]).to(xyz.dtype)
    total = torch.zeros_like(count).scatter_add(1, owner[..., 0], squares[..., 0].sqrt())
    return count, total / count.clamp_min(1)


def chosen(number: Tensor, children: int, usual: int) -> Tensor:
    """Indexes (batch, kept) of the first ``round(number)`` of each point's children, (batch, points).

    Where one cloud of a batch keeps fewer than another, its own begin anew.
    """
    if number.is_meta:  # which has no numbers: as many as usual
        return torch.empty(len(number), usual * number.shape[1], dtype=torch.long, device="meta")
    stays = torch.arange(children, device=number.device) < torch.round(number)[..., None]
    found = [one.flatten().nonzero()[:, 0] for one in stays]
    most = max(len(one) for one in found)
    return torch.stack([one[torch.arange(most, device=one.device) % len(one)] for one in found])


def directions() -> Tensor:
    """The 42 corners of an icosahedron whose edges are halved, on the unit sphere, and the zero vector: (43, 3)."""
    golden = (1 + 5**0.5) / 2
    cycle = [np.roll([0.0, a, b * golden], turn) for turn in range(3) for a in (-1, 1) for b in (-1, 1)]
    corners = np.array(cycle)
    gaps = np.linalg.norm(corners[:, None] - corners, axis=2)
    middles = [corners[i] + corners[j] for i in range(12) for j in range(i) if gaps[i, j] < 2.1]
    sphere = np.array([*corners, *middles])
    sphere /= np.linalg.norm(sphere, axis=1, keepdims=True)
    return torch.tensor(np.concatenate([sphere, np.zeros((1, 3))]), dtype=torch.float32)


def _mean_length(offset: Tensor, number: Tensor, children: int) -> Tensor:
    """How long a point's offsets are in the mean, of those that stay: (batch, points)."""
    length = torch.unflatten(offset.square().sum(1).clamp_min(1e-12).sqrt(), 1, (-1, children))
    stays = torch.arange(children, device=offset.device) < torch.round(number.detach())[..., None]
    return (length * stays).sum(2) / stays.sum(2)


def _at(x: Tensor, index: Tensor) -> Tensor:
    return index_points(x.transpose(1, 2), index).transpose(1, 2)
