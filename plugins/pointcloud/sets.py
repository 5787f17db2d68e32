"""Neighbours and samples of point sets, without CUDA code of its own: in bounded memory, the same every time."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import KDTree
from torch import Tensor

from tinify.errors import InputError

_ELEMENTS = 1 << 24
"""Distances at once; those of all pairs of a large cloud would take gigabytes."""


def farthest_point_sample(xyz: Tensor, npoint: int) -> Tensor:
    """Indexes of points far from one another, (batch, npoint), of clouds (batch, points, 3).

    The first is point 0, each next the farthest from all before it; the lowest index where several are. A decoder finds
    the same, unlike from a random first point.
    Eldar, Lindenbaum, Porat, Zeevi: The Farthest Point Strategy for Progressive Image Sampling, IEEE TIP 6, 1997.

    >>> farthest_point_sample(torch.tensor([[[0.0, 0, 0], [1, 0, 0], [5, 0, 0], [4, 0, 0]]]), 3).tolist()
    [[0, 2, 1]]
    """
    _check(xyz)
    batch, count, _ = xyz.shape
    if not 0 < npoint <= count:
        raise InputError(f"{npoint} samples of {count} points: expected 1 to {count}")
    chosen = torch.zeros(batch, npoint, dtype=torch.long, device=xyz.device)
    nearest = torch.full((batch, count), torch.inf, dtype=xyz.dtype, device=xyz.device)
    rows = torch.arange(batch, device=xyz.device)
    for k in range(1, npoint):
        last = xyz[rows, chosen[:, k - 1]]
        nearest = torch.minimum(nearest, (xyz - last[:, None]).square().sum(2))
        chosen[:, k] = nearest.argmax(1)
    return chosen


def query_ball_point(radius: float, nsample: int, xyz: Tensor, new_xyz: Tensor) -> Tensor:
    """Of every point of ``new_xyz``, the first ``nsample`` indexes of ``xyz`` within ``radius``: (batch, new, nsample).

    Where there are fewer, the first stands again for the others; where there is none, the nearest point's index.
    Qi, Yi, Su, Guibas: PointNet++: Deep Hierarchical Feature Learning on Point Sets in a Metric Space, NeurIPS 2017.

    >>> cloud = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [2, 0, 0]]])
    >>> query_ball_point(1.1, 3, cloud, cloud[:, :2]).tolist()
    [[[0, 1, 0], [0, 1, 2]]]
    """
    _check(xyz)
    _check(new_xyz)
    count = xyz.shape[1]
    parts = []
    for some in _chunks(new_xyz, count):
        distance = _squares(some, xyz)
        inside = distance <= radius**2
        order = torch.where(inside, torch.arange(count, device=xyz.device), count)
        kept = min(nsample, count)
        found = order.topk(kept, dim=2, largest=False).values.sort(2).values
        nearest = distance.argmin(2, keepdim=True)
        first = torch.where(found[..., :1] == count, nearest, found[..., :1])
        found = torch.where(found == count, first, found)
        parts.append(torch.cat([found, first.expand(-1, -1, nsample - kept)], 2))
    return torch.cat(parts, 1)


def nearest_neighbours(queries: Tensor, xyz: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Squared distances and indexes of the ``k`` nearest points of ``xyz``, nearest first: (batch, queries, k) both.

    >>> cloud = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [3, 0, 0]]])
    >>> nearest_neighbours(cloud, cloud, 2)[1].tolist()
    [[[0, 1], [1, 0], [2, 1]]]
    """
    _check(xyz)
    _check(queries)
    if not 0 < k <= xyz.shape[1]:
        raise InputError(f"{k} neighbours among {xyz.shape[1]} points: expected 1 to {xyz.shape[1]}")
    if xyz.device.type == "cpu":
        return _by_tree(queries, xyz, k)
    found = [_squares(some, xyz).topk(k, dim=2, largest=False) for some in _chunks(queries, xyz.shape[1])]
    return torch.cat([one.values for one in found], 1), torch.cat([one.indices for one in found], 1)


def _by_tree(queries: Tensor, xyz: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The same by trees, which on a CPU are fifty times as fast as the distances of all pairs."""
    found = [
        KDTree(cloud.detach().numpy()).query(some.detach().numpy(), np.arange(1, k + 1))[1]
        for some, cloud in zip(queries, xyz, strict=True)
    ]
    index = torch.from_numpy(np.stack(found).astype(np.int64))
    return (index_points(xyz, index) - queries[:, :, None]).square().sum(3), index


def index_points(points: Tensor, idx: Tensor) -> Tensor:
    """The points (batch, ..., channels) of clouds (batch, points, channels) that ``idx``, (batch, ...), names."""
    flat = idx.flatten(1)[..., None].expand(-1, -1, points.shape[2])
    return points.gather(1, flat).reshape(*idx.shape, points.shape[2])


def _squares(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances of all pairs, (batch, a, b): differences first, so that near points stay exact."""
    return sum(((a[:, :, None, axis] - b[:, None, :, axis]).square() for axis in range(a.shape[2])), torch.zeros(()))


def _chunks(points: Tensor, others: int) -> tuple[Tensor, ...]:
    return torch.split(points, max(1, _ELEMENTS // max(1, others * len(points))), 1)


def _check(xyz: Tensor) -> None:
    if xyz.ndim != 3 or not xyz.shape[1] or not xyz.is_floating_point():
        raise InputError(f"a cloud is {xyz.dtype} of {tuple(xyz.shape)}: expected floats of (batch, points, 3)")
