"""A model without memory: built and run on the meta device, and compared with what its spec declares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from tinify.errors import InputError
from tinify.models.build import build_model
from tinify.models.tree import parts_of
from tinify.plugin import Cost
from tinify.spec import Architecture, PartRow

MAX_PARAMETERS = 10**10


def compare_with_meta(architecture: Architecture) -> list[str]:
    """Where the modules of an architecture differ from what their declarations say: shapes and parameters.

    Nothing is allocated. Raises :class:`~tinify.errors.InputError` for more than ``MAX_PARAMETERS`` declared, and
    whatever a component raises that cannot be built or run.

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
    extent = model.domain.extents(architecture.stride)[1]
    made: dict[str, tuple[int, ...]] = {}
    _watch(model, rows, made)
    failure: Exception | None = None
    try:
        with torch.no_grad():
            model(model.domain.example(architecture.channels, extent, 1, device="meta"))
    except Exception as error:
        failure = error
    problems = [problem for row in rows if row.path in made for problem in _shape_problems(row, made[row.path], extent)]
    if failure and not problems:  # else what came before has brought it about
        raise failure
    return problems + list(_parameter_problems(rows, model))


def _watch(model: nn.Module, rows: list[PartRow], made: dict[str, tuple[int, ...]]) -> None:
    """Has the shape of what every layer gives put down in ``made``, by its path."""
    modules = dict(parts_of(model))

    def keep(path: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            made[path] = tuple(output.shape)

        return hook

    for row in rows:
        if row.path in modules and row.kind in ("layer", "transform"):
            modules[row.path].register_forward_hook(keep(row.path))


def _shape_problems(row: PartRow, shape: tuple[int, ...], extent: tuple[int, ...]) -> Iterator[str]:
    assert row.output is not None
    expected = (1, row.output.channels, *(int(length / row.output.stride) for length in extent))
    if shape != expected:
        size = "x".join(map(str, extent))
        yield f"{row.path}: {row} is declared {row.shapes}, so {expected} of an input of {size}; it gives {shape}"


def _parameter_problems(rows: list[PartRow], model: nn.Module) -> Iterator[str]:
    """Each parameter belongs to the innermost part that it is in."""
    known = {row.path for row in rows}
    paths = {part: path for path, part in parts_of(model) if path in known}
    places = {name: paths[part] for name, part in model.named_modules() if part in paths}
    counted: Counter[str] = Counter()
    for name, parameter in model.named_parameters():
        while name and name not in places:
            name = name.rpartition(".")[0]
        counted[places[name]] += parameter.numel()
    for row in rows:
        if row.cost is not None and row.cost.parameters != counted[row.path]:
            where = row.path or "the model"
            yield f"{where}: {row} is declared with {row.cost.parameters:,} parameters; it has {counted[row.path]:,}"
