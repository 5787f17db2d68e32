"""Density-preserving compression: points merge into fewer, and part again into as many as they were."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tinify.coders import Coder
from tinify.latent_codecs import LatentCodec
from tinify.latent_codecs.stream import Stream

from .flow import PointSetModel
from .sets import farthest_point_sample, index_points, nearest_neighbours

_NEAR = 16


class DensityPreserving(PointSetModel):
    """Clouds through levels of fewer points, the last of which is coded, positions and features.

    Back at each level a point proposes children: ``weights`` of :func:`directions` and a ``scale`` say where, from it,
    ``features`` what they know, and ``number`` how many of them stay; ``refine_weights``, ``refine_scale`` and
    ``refine_features`` then move those that do. Clouds may have any number of points, and decode to about as many.

    Beside ``x_hat`` a forward returns, for the loss, lists in the order in which things are made, the encoder's from
    the cloud down, the decoder's up to it: ``gt_xyz_`` and ``xyz_hat_`` (batch, 3, points), the cloud and the levels
    below but for the last, ``gt_latent_xyz`` and ``latent_xyz_hat``, which are the last; and of the points that stand
    for others ``gt_downsample_num_``, ``upsample_num_hat_``, ``gt_mean_distance_``, ``mean_distance_hat_`` (batch,
    points): how many these are, and how far. ``feat_hat`` are the last features.
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
        coder: Coder | None = None,
    ) -> None:
        super().__init__()
        self.embed, self.down = embed, nn.ModuleList(down)
        self.feat, self.xyz_analysis, self.xyz, self.xyz_synthesis = feat, xyz_analysis, xyz, xyz_synthesis
        self.weights, self.scale, self.features = map(nn.ModuleList, (weights, scale, features))
        self.number = nn.ModuleList(number)
        self.refine_weights, self.refine_scale, self.refine_features = map(
            nn.ModuleList, (refine_weights, refine_scale, refine_features)
        )
        self.use_coder(coder)
        self.ratios, self.candidates = tuple(ratios), candidates
        self.register_buffer("directions", directions(), persistent=False)

    def code(self, x: Tensor | None, stream: Stream) -> dict[str, Any]:
        told = {} if x is None else self._encode(x)
        last = told.get("gt_latent_xyz")
        y = None if last is None else self.xyz_analysis(last)
        latent_xyz_hat: Tensor = self.xyz_synthesis(self.xyz.code(y, None, stream.at("latent_xyz")))
        features = self.feat.code(told.pop("feat", None), None, stream.at("latent_feat"))
        return {**told, "latent_xyz_hat": latent_xyz_hat, **self._decode(latent_xyz_hat, features)}

    def latents(self) -> list[str]:
        return ["latent_xyz", "latent_feat"]

    def _encode(self, x: Tensor) -> dict[str, Any]:
        points = torch.cat([x, self.embed(x)], 1)
        levels = [x]
        numbers, distances = [], []
        for down in self.down:
            points = down(points)
            count, total = density(levels[-1], points[:, :3])
            levels.append(points[:, :3])
            numbers.append(count)
            distances.append(total / count.clamp_min(1))
        told = {"gt_xyz_": levels[:-1], "gt_downsample_num_": numbers, "gt_mean_distance_": distances}
        return {**told, "gt_latent_xyz": levels[-1], "feat": points[:, 3:]}

    def _decode(self, xyz: Tensor, features: Tensor) -> dict[str, Any]:
        levels, numbers, distances = [], [], []
        for k in range(len(self.ratios) - 1, -1, -1):
            number = 1 + (self.candidates - 1) * torch.sigmoid(self.number[k](features)[:, 0])
            offset = self._offset(self.weights[k](features), self.scale[k](features))
            numbers.append(number)
            proposed = xyz.repeat_interleave(self.candidates, 2) + offset
            kept = chosen(proposed, number, self.ratios[k] * xyz.shape[2])
            known = features.repeat_interleave(self.candidates, 2) + self.features[k](features)
            parents, xyz, features = xyz, _at(proposed, kept), _at(known, kept)
            xyz = xyz + self._offset(self.refine_weights[k](features), self.refine_scale[k](features))
            features = features + self.refine_features[k](features)
            levels.append(xyz)
            distances.append(density(xyz, parents)[1] / number)
        made = {"xyz_hat_": levels, "upsample_num_hat_": numbers, "mean_distance_hat_": distances}
        return {**made, "feat_hat": features, "x_hat": xyz}

    def _offset(self, weights: Tensor, scale: Tensor) -> Tensor:
        """Offsets (batch, 3, points): a mean of the directions, made as long as ``scale`` says."""
        mean = torch.einsum("bdn,dc->bcn", F.softmax(weights, 1), self.directions.to(weights.dtype))
        return F.normalize(mean, dim=1) * scale


def density(xyz: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """How many of the sixteen of ``xyz`` (batch, 3, points) that are nearest to each of ``centres`` are nearer to it
    than to the others, and how far these are, added: (batch, centres) both.
    """
    points, around = xyz.transpose(1, 2), centres.transpose(1, 2)
    owner = nearest_neighbours(points.detach(), around.detach(), 1)[1]
    near = nearest_neighbours(around.detach(), points.detach(), min(_NEAR, points.shape[1]))[1]
    own = index_points(owner, near)[..., 0] == torch.arange(around.shape[1], device=xyz.device)[:, None]
    squares = (index_points(points, near) - around[:, :, None]).square().sum(3)
    return own.sum(2).to(xyz.dtype), (squares.clamp_min(1e-12).sqrt() * own).sum(2)


def chosen(xyz: Tensor, number: Tensor, count: int) -> Tensor:
    """Indexes (batch, ``count``) of points that stay, of proposals ``xyz`` (batch, 3, points), those of a parent
    together.

    The first ``round(number)`` of each parent's are taken; of these ``count``, far from one another where they are
    more, and from the first anew where they are fewer.
    """
    proposals = xyz.shape[2] // number.shape[1]
    stays = (torch.arange(proposals, device=number.device) < torch.round(number)[..., None]).flatten(1)
    kept = []
    for cloud, mask in zip(xyz.detach().transpose(1, 2), stays, strict=True):
        # On the meta device there are no numbers to go by.
        found = torch.arange(count, device=mask.device) if mask.is_meta else mask.nonzero()[:, 0]
        if len(found) > count:
            found = found[farthest_point_sample(cloud[found][None], count)[0]]
        kept.append(found[torch.arange(count, device=found.device) % len(found)])
    return torch.stack(kept)


def directions() -> Tensor:
    """The zero vector, and the 42 corners on the unit sphere of an icosahedron whose edges are halved: (43, 3).

    They are in the order of their coordinates before the middles of the edges are moved out to the sphere.
    """
    golden = (1 + 5**0.5) / 2
    corners = np.array([np.roll([0.0, a, b * golden], turn) for turn in range(3) for a in (-1, 1) for b in (-1, 1)])
    corners /= np.linalg.norm(corners, axis=1, keepdims=True)
    edge = np.linalg.norm(corners[:, None] - corners, axis=2) < 1.1
    middles = [(corners[i] + corners[j]) / 2 for i in range(12) for j in range(i) if edge[i, j]]
    solid = np.array([*corners, *middles])
    solid = solid[np.lexsort(np.round(solid.T[::-1], 9))]
    sphere = solid / np.linalg.norm(solid, axis=1, keepdims=True)
    return torch.tensor(np.concatenate([np.zeros((1, 3)), sphere]), dtype=torch.float32)


def _at(x: Tensor, index: Tensor) -> Tensor:
    return index_points(x.transpose(1, 2), index).transpose(1, 2)
