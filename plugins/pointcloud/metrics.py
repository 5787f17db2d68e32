"""How far a cloud is from another: point to point, point to plane, Chamfer."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from tinify.errors import InputError

Points = NDArray[np.float32]


def chamfer_distance(a: Points, b: Points) -> float:
    """The mean squared distance of every point to the nearest of the other cloud, both ways added.

    >>> chamfer_distance(np.zeros((4, 3)), np.array([[0.0, 0, 2]]))
    8.0
    """
    return _mean_square(a, b) + _mean_square(b, a)


def d1_psnr(reference: Points, decoded: Points, peak: float = 1.0) -> float:
    """Point-to-point PSNR in decibels: ``10 log10(3 peak^2 / mse)``, of the worse of both directions.

    ``peak`` is the side of the cube that coordinates fill. Tian, Ochimizu, Feng, Cohen, Vetro: Geometric Distortion
    Metrics for Point Cloud Compression, ICIP 2017; MPEG's common test conditions.
    """
    return _psnr(max(_mean_square(reference, decoded), _mean_square(decoded, reference)), peak)


def d2_psnr(reference: Points, decoded: Points, peak: float = 1.0, normals: Points | None = None) -> float:
    """Point-to-plane PSNR in decibels: errors count along the reference's normals alone, found from 12 neighbours
    where none are given. Tian et al., ICIP 2017.
    """
    a, b = _checked(reference), _checked(decoded)
    planes = estimate_normals(reference) if normals is None else _checked(normals)
    _, there = KDTree(b).query(a)
    _, back = KDTree(a).query(b)
    forth = np.sum((b[there] - a) * planes, 1)
    again = np.sum((b - a[back]) * planes[back], 1)
    return _psnr(max(float(np.mean(forth**2)), float(np.mean(again**2))), peak)


def estimate_normals(points: Points, neighbours: int = 12) -> NDArray[np.float64]:
    """Unit normals (n, 3) of the planes that fit every point's neighbours best; their signs mean nothing."""
    cloud = _checked(points)
    _, near = KDTree(cloud).query(cloud, k=min(neighbours, len(cloud)))
    around = cloud[near.reshape(len(cloud), -1)]
    offsets = around - around.mean(1, keepdims=True)
    _, vectors = np.linalg.eigh(np.einsum("nki,nkj->nij", offsets, offsets))
    found: NDArray[np.float64] = vectors[:, :, 0]
    return found


def _mean_square(a: Points, b: Points) -> float:
    distance, _ = KDTree(_checked(b)).query(_checked(a))
    return float(np.mean(distance**2))


def _psnr(error: float, peak: float) -> float:
    return math.inf if error == 0 else 10 * math.log10(3 * peak**2 / error)


def _checked(points: Points) -> NDArray[np.float64]:
    found = np.asarray(points, np.float64)
    if found.ndim != 2 or found.shape[1] != 3 or not len(found) or not np.isfinite(found).all():
        raise InputError(f"a cloud of {found.shape}: expected finite numbers of (points, 3)")
    return found
