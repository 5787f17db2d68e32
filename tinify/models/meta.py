"""A model without memory: built and run on the meta device, and compared with what its spec declares."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tinify.errors import InputError
from tinify.models.build import build_model
from tinify.plugin import Cost
from tinify.spec import Architecture, PartRow

MAX_PARAMETERS = 10**10


def compare_with_meta(architecture: Architecture) -> list[str]:
    """Where the modules of an architecture differ from what their declarations say: shapes and parameters.

    Nothing is allocated. Raises :class:`~tinify.errors.InputError` for more than ``MAX_PARAMETERS`` declared.

    >>> from tinify.spec import Spec
    >>> compare_with_meta(Spec.load("mbt2018-mean").elaborate())
    []
    """
    rows = architecture.parts()
    declared = sum((row.cost for row in rows if row.cost), Cost()).parameters
    if declared > MAX_PARAMETERS:
        raise InputError(f"{architecture.name} declares {declared:,} parameters: the limit is {MAX_PARAMETERS:,}")
    with torch.device("meta"):
        model = build_model(architecture).eval()
    modules = dict(model.named_modules())
    made: dict[str, tuple[int, ...]] = {}
    for row in rows:
        if row.path in modules and row.kind in ("layer", "transform"):
            modules[row.path].register_forward_hook(_keep(made, row.path))
    side = 2 * architecture.stride
    with torch.no_grad():
        model(torch.empty(1, architecture.channels, side, side, device="meta"))
    problems = [problem for row in rows if row.path in made for problem in _difference(row, made[row.path], side)]
    counted = sum(parameter.numel() for parameter in model.parameters())
    if all(row.cost is not None or not row.inputs for row in rows) and counted != declared:
        problems.append(f"the declarations say {declared:,} parameters, the model has {counted:,}")
    return problems


def _keep(made: dict[str, tuple[int, ...]], path: str) -> Any:
    def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
        made[path] = tuple(output.shape)

    return hook


def _difference(row: PartRow, shape: tuple[int, ...], side: int) -> list[str]:
    assert row.output is not None
    length = int(side / row.output.stride)
    expected = (1, row.output.channels, length, length)
    if shape == expected:
        return []
    return [f"{row.path}: {row} is declared {row.shapes}, so {expected} of a picture of side {side}; it gives {shape}"]
