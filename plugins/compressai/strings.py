"""The shapes that CompressAI's models want beside their strings, where tinify's are content with less."""

from __future__ import annotations

from typing import Any

import torch

from tinify.errors import InputError
from tinify.models import CompressionModel


def shape_to_compressai(model: CompressionModel, shape: torch.Size) -> Any:
    """The ``shape`` for CompressAI's ``decompress``, from that of ``model.compress``.

    A mapping ``{"y": ..., "hyper": ...}`` for the checkerboard and channel-group models, else the shape itself. The way
    back needs nothing: ``model.decompress`` takes both. Raises
    :class:`~tinify.errors.InputError` for a model that no spec made.

    >>> import tinify
    >>> model = tinify.create_model("cheng2020-anchor-checkerboard", N=8)
    >>> shape_to_compressai(model, torch.Size((1, 2)))
    {'y': torch.Size([8, 4, 8]), 'hyper': torch.Size([1, 2])}
    """
    if model.architecture is None:
        raise InputError("only a model built from a spec is known to CompressAI: this one was assembled by hand")
    name, parameters = model.architecture.name, model.architecture.parameters
    height, width = (4 * side for side in shape)
    if name == "cheng2020-anchor-checkerboard":
        return {"y": torch.Size((parameters["N"], height, width)), "hyper": shape}
    if name in ("elic2022-official", "elic2022-chandelier"):
        return {"y": [torch.Size((group, height, width)) for group in parameters["groups"]], "hyper": shape}
    return shape
