"""The field's entry points: an untrained model of variable rate of the published size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from tinify.errors import InputError

from .models import JointAutoregressiveHierarchicalPriorsVbr, MeanScaleHyperpriorVbr, ScaleHyperpriorVbr

_Model = TypeVar("_Model", bound=ScaleHyperpriorVbr)


def bmshj2018_hyperprior_vbr(
    quality: int = 0, metric: str = "mse", pretrained: bool = False, progress: bool = True, **kwargs: Any
) -> ScaleHyperpriorVbr:
    """An untrained :class:`ScaleHyperpriorVbr` of the published size; ``quality`` is 0, as one model has all.

    >>> bmshj2018_hyperprior_vbr(N=8, M=12).levels
    8
    """
    return _entry(ScaleHyperpriorVbr, quality, metric, pretrained, kwargs)


def mbt2018_mean_vbr(
    quality: int = 0, metric: str = "mse", pretrained: bool = False, progress: bool = True, **kwargs: Any
) -> MeanScaleHyperpriorVbr:
    """An untrained :class:`MeanScaleHyperpriorVbr`, likewise."""
    return _entry(MeanScaleHyperpriorVbr, quality, metric, pretrained, kwargs)


def mbt2018_vbr(
    quality: int = 0, metric: str = "mse", pretrained: bool = False, progress: bool = True, **kwargs: Any
) -> JointAutoregressiveHierarchicalPriorsVbr:
    """An untrained :class:`JointAutoregressiveHierarchicalPriorsVbr`, likewise."""
    return _entry(JointAutoregressiveHierarchicalPriorsVbr, quality, metric, pretrained, kwargs)


vbr_models: dict[str, Callable[..., ScaleHyperpriorVbr]] = {
    "bmshj2018-hyperprior-vbr": bmshj2018_hyperprior_vbr,
    "mbt2018-mean-vbr": mbt2018_mean_vbr,
    "mbt2018-vbr": mbt2018_vbr,
}
"""The entry points by name."""


def _entry(face: type[_Model], quality: int, metric: str, pretrained: bool, options: dict[str, Any]) -> _Model:
    if quality != 0:
        raise InputError(f"quality {quality!r}: {face.SPEC} has all rates in one model, whose quality is 0 here")
    if metric != "mse":
        raise InputError(f"metric {metric!r}: {face.SPEC} is published for 'mse' alone")
    if pretrained:
        raise InputError(
            f"{face.SPEC} comes without trained weights, and nothing is downloaded: give a checkpoint that you have to "
            "`tinify import-compressai CHECKPOINT OUT`, and load it with tinify.load_model(OUT)"
        )
    sizes = {"N": 192, "M": 320, "vr_entbttlnck": face is not JointAutoregressiveHierarchicalPriorsVbr}
    return face(**{**sizes, **options})
