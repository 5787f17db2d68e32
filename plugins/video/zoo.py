"""The field's entry point: an untrained model of video of the published size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinify.errors import InputError

from .models import ScaleSpaceFlow

_BEST = 9


def ssf2020(
    quality: int, metric: str = "mse", pretrained: bool = False, progress: bool = True, **kwargs: Any
) -> ScaleSpaceFlow:
    """An untrained :class:`ScaleSpaceFlow`, of one size for each ``quality`` from 1 to 9; ``kwargs`` are its arguments.

    >>> ssf2020(3, N=8, M=8).SPEC
    'ssf2020'
    """
    if metric != "mse":
        raise InputError(f"metric {metric!r}: {ScaleSpaceFlow.SPEC} is published for 'mse' alone")
    if isinstance(quality, bool) or not isinstance(quality, int) or not 1 <= quality <= _BEST:
        raise InputError(f"quality {quality!r}: {ScaleSpaceFlow.SPEC} has the qualities 1 to {_BEST}")
    if pretrained:
        raise InputError(
            f"{ScaleSpaceFlow.SPEC} comes without trained weights, and nothing is downloaded: give a checkpoint that "
            "you have to `tinify import-compressai CHECKPOINT OUT`, and the result to `tinify video compress --model`"
        )
    return ScaleSpaceFlow(**kwargs)


video_models: dict[str, Callable[..., ScaleSpaceFlow]] = {"ssf2020": ssf2020}
"""The entry points by name."""
