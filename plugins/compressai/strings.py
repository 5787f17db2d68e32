"""The shapes that CompressAI's models want beside their strings, and that tinify's do not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from tinify.errors import InputError
from tinify.models import CompressionModel


def shape_to_compressai(model: CompressionModel, shape: torch.Size) -> Any:
    """The ``shape`` for CompressAI's ``decompress``, from that of ``model.compress``.

    A mapping ``{"y": ..., "hyper": ...}`` of the checkerboard and channel-group models, else the shape itself.

    >>> import tinify
    >>> model = tinify.create_model("cheng2020-anchor-checkerboard", N=8)
    >>> shape_to_compressai(model, torch.Size((1, 2)))
    {'y': torch.Size([8, 4, 8]), 'hyper': torch.Size([1, 2])}
    """
    assert model.architecture is not None
    name, parameters = model.architecture.name, model.architecture.parameters
    height, width = (4 * side for side in shape)
    if name == "cheng2020-anchor-checkerboard":
        return {"y": torch.Size((parameters["N"], height, width)), "hyper": shape}
    if name in ("elic2022-official", "elic2022-chandelier"):
        return {"y": [torch.Size((group, height, width)) for group in parameters["groups"]], "hyper": shape}
    return shape


def shape_from_compressai(shape: Any) -> torch.Size:
    """The ``shape`` for ``model.decompress``, from that of CompressAI's ``compress``.

    Raises :class:`~tinify.errors.InputError` for what CompressAI does not return.

    >>> shape_from_compressai({"y": torch.Size((8, 4, 8)), "hyper": torch.Size((1, 2))})
    torch.Size([1, 2])
    """
    spatial = shape.get("hyper") if isinstance(shape, Mapping) else shape
    if not isinstance(spatial, tuple | list) or len(spatial) != 2:
        raise InputError(f"a shape of {shape!r}: expected two sides, or a mapping with 'y' and 'hyper'")
    return torch.Size(spatial)
