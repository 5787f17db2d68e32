"""The field's entry points: untrained models of point clouds of the published sizes."""

from __future__ import annotations

from typing import Any, TypeVar

from tinify.errors import InputError

from .flow import PointSetModel
from .models import (
    DensityPreservingReconstructionPccModel,
    PointNet2SsgReconstructionPccModel,
    PointNetReconstructionPccModel,
)

_Model = TypeVar("_Model", bound=PointSetModel)


def sfu2023_pcc_rec_pointnet(pretrained: bool = False, **kwargs: Any) -> PointNetReconstructionPccModel:
    """An untrained :class:`PointNetReconstructionPccModel`; there are no weights to have.

    >>> sfu2023_pcc_rec_pointnet(num_points=64).architecture.stride
    64
    """
    return _entry(PointNetReconstructionPccModel, pretrained, kwargs)


def sfu2024_pcc_rec_pointnet2_ssg(pretrained: bool = False, **kwargs: Any) -> PointNet2SsgReconstructionPccModel:
    """An untrained :class:`PointNet2SsgReconstructionPccModel`, likewise."""
    return _entry(PointNet2SsgReconstructionPccModel, pretrained, kwargs)


def hrtzxf2022_pcc_rec(pretrained: bool = False, **kwargs: Any) -> DensityPreservingReconstructionPccModel:
    """An untrained :class:`DensityPreservingReconstructionPccModel`, likewise."""
    return _entry(DensityPreservingReconstructionPccModel, pretrained, kwargs)


def _entry(face: type[_Model], pretrained: bool, options: dict[str, Any]) -> _Model:
    if pretrained:
        raise InputError(
            f"{face.SPEC} comes without trained weights, and nothing is downloaded: "  # type: ignore[attr-defined]
            "train it (docs/point-clouds.md), and load the result with tinify.load_model(FILE)"
        )
    return face(**options)


pointcloud_models = {
    "sfu2023-pcc-rec-pointnet": sfu2023_pcc_rec_pointnet,
    "sfu2024-pcc-rec-pointnet2-ssg": sfu2024_pcc_rec_pointnet2_ssg,
    "hrtzxf2022-pcc-rec": hrtzxf2022_pcc_rec,
}
"""The entry points by the names of their specs."""
