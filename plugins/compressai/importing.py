"""A state dict of CompressAI to a model of tinify: the architecture is recognised, and every tensor accounted for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tinify.entropy_models import EntropyModel, GaussianConditional
from tinify.entropy_models.base import TABLE_BUFFERS
from tinify.errors import CheckpointError, InputError, TinifyError, UnknownNameError
from tinify.models import CompressionModel, build_model
from tinify.models.faces import FACES, PublishedModel
from tinify.models.state_dict import differences
from tinify.registry import get_registry
from tinify.spec import Architecture, Spec

from .state_dict import read_state_dict

Tensors = Mapping[str, Tensor]

# Buffers that follow from the architecture: releases differ in which of them they save.
_CONSTANTS = ("bound", "pedestal", "target", "scale_bound", "mask", "steps")
# Empty until CompressAI builds the tables.
_TABLES = (*TABLE_BUFFERS, "scale_table")
# What only these have, by the spec of which, and the plugin that has it.
_FOREIGN = {
    "QuantABCD.": ("mbt2018-mean-vbr", "a variable-rate model", "vbr"),
    "img_encoder.": ("ssf2020", "the video model ssf2020", "video"),
    "encoder.downsample_layers.": ("hrtzxf2022-pcc-rec", "the point-cloud model hrtzxf2022-pcc-rec", "pointcloud"),
    "g_a.16.gain": ("sfu2023-pcc-rec-pointnet", "the point-cloud model sfu2023-pcc-rec-pointnet", "pointcloud"),
    "down._1.": ("sfu2024-pcc-rec-pointnet2-ssg", "the point-cloud model sfu2024-pcc-rec-pointnet2-ssg", "pointcloud"),
}


@dataclass(frozen=True)
class Fit:
    """How far a state dict is from an architecture: how many tensors differ, and in what."""

    distance: float
    differences: tuple[str, ...]


def import_checkpoint(path: Path | str, arch: str | None = None, *, compat: bool = True) -> CompressionModel:
    """The model in a checkpoint of CompressAI, in evaluation mode, its coding tables as they were or built.

    ``arch`` is one of the names of :func:`architectures`; without it the architecture is recognised. With ``compat``
    its strings are CompressAI's, else those of tinify's own coder. Raises :class:`~tinify.errors.CheckpointError`,
    which lists what differs, for what is not such a checkpoint.
    """
    tensors, faces = read_state_dict(path), architectures()
    if arch is not None and arch not in faces:
        raise UnknownNameError.among("architecture of CompressAI", arch, faces)
    fits = {name: _fit(face, tensors) for name, face in faces.items()}
    nearest = min(fits, key=lambda name: fits[name].distance)
    name = arch or nearest
    if fits[name].differences:
        raise CheckpointError(f"{path} {_explain(tensors, name, nearest, fits)}")
    face = faces[name]
    theirs = face(**face.parameters_of(tensors))
    own = theirs.state_dict()
    theirs.load_state_dict(own | _without_constants(path, _without_empty(tensors), own))
    assert theirs.architecture is not None
    model = build_model(_architecture(name, theirs.architecture.parameters, compat))
    model.load_state_dict(theirs.spec_model().state_dict())
    for place, part in model.entropy_models():
        _check_tables(path, place, part)
    model.update()
    return model.eval()


def architectures() -> dict[str, type[PublishedModel]]:
    """What can be imported: for each name, that of its spec, the class that says how CompressAI lays it out.

    Those of tinify, and every :class:`~tinify.models.faces.PublishedModel` that a plugin puts under ``tinify.models``.

    >>> sorted(architectures())[:2]
    ['bmshj2018-factorized', 'bmshj2018-factorized-relu']
    """
    offered = [name.load() for name in get_registry().names().values() if name.module == "tinify.models"]
    known: list[type[PublishedModel]] = [face for face in FACES if face.__module__.startswith("tinify.models.")]
    known += [face for face in offered if isinstance(face, type) and issubclass(face, PublishedModel)]
    return {face.SPEC: face for face in known}


def _architecture(name: str, parameters: Mapping[str, Any], compat: bool) -> Architecture:
    coder = "model: {coder: compat}\n" if compat else ""
    return Spec.loads(f"tinify: 1\nname: {name}\nextends: {name}\n{coder}", f"<{name}>").elaborate(**parameters)


def _without_empty(tensors: Tensors) -> dict[str, Tensor]:
    """The tensors without tables that were never built."""
    return {key: tensor for key, tensor in tensors.items() if tensor.numel() or _last(key) not in _TABLES}


def _last(key: str) -> str:
    return key.rpartition(".")[2]


def _fit(face: type[PublishedModel], tensors: Tensors) -> Fit:
    """Compares with the architecture at the size that the tensors show; nothing is allocated for it."""
    try:
        with torch.device("meta"):
            own = face(**face.parameters_of(tensors)).state_dict()
    except KeyError as error:
        return Fit(math.inf, (f"missing {error.args[0]}",))
    except TinifyError as error:
        return Fit(math.inf, (str(error),))
    given = _without_empty(tensors)
    given |= {key: own[key] for key in own.keys() - given.keys() if _last(key) in (*_CONSTANTS, *_TABLES)}
    shared = [key for key in own if key in given]
    kinds = [key for key in shared if given[key].is_floating_point() != own[key].is_floating_point()]
    shapes = [key for key in shared if given[key].shape != own[key].shape and _last(key) not in _TABLES]
    found = differences(given, own) + [f"{key} is {given[key].dtype}, not {own[key].dtype}" for key in kinds[:1]]
    return Fit(len(own.keys() ^ given.keys()) + len(shapes) + len(kinds), tuple(found))


def _explain(tensors: Tensors, name: str, nearest: str, fits: Mapping[str, Fit]) -> str:
    """Why a checkpoint is not of the architecture, and what it is instead."""
    differs = "; ".join(fits[name].differences)
    foreign = next(
        (
            f"looks like {what}, of the plugin {plugin}, which is not here"
            for start, (spec, what, plugin) in _FOREIGN.items()
            if spec not in fits and any(key.startswith(start) for key in tensors)
        ),
        "",
    )
    if not fits[nearest].differences:
        return f"is a checkpoint of {nearest}, not of {name} ({differs}): give --arch {nearest}, or leave it out"
    if foreign:
        return f"{foreign}; there are: {', '.join(sorted(fits))}"
    if math.isinf(fits[nearest].distance):
        first = ", ".join(sorted(tensors)[:3])
        return f"is of no architecture known here (it has {first}, ...); there are: {', '.join(sorted(fits))}"
    more = "" if name == nearest else f". It looks more like {nearest}: {'; '.join(fits[nearest].differences)}"
    return f"looks like {name}, but is not: {differs}{more}"


def _without_constants(path: Path | str, given: Tensors, own: Tensors) -> dict[str, Tensor]:
    """The tensors but for the constants, which are checked: at half precision a file would hold them too coarsely."""
    for key, tensor in given.items():
        expected = own[key].to(tensor.dtype)
        if _last(key) in _CONSTANTS and not torch.allclose(tensor, expected, rtol=1e-3, atol=0):
            raise CheckpointError(
                f"{key} in {path} is not what the architecture makes it: it was changed, or made with other options "
                "than CompressAI's own; write a spec with those (docs/specs.md), and load the weights into its model"
            )
    return {key: tensor for key, tensor in given.items() if _last(key) not in _CONSTANTS}


def _check_tables(path: Path | str, place: str, part: EntropyModel) -> None:
    """Tables that were saved are whole, and have a row for whatever is coded."""
    if not part.has_tables:
        return
    try:
        rows = len(part.tables.sizes)
    except InputError as error:
        raise CheckpointError(f"the coding tables of {place} in {path} are damaged: {error}") from error
    wanted = part.scale_table.numel() if isinstance(part, GaussianConditional) else getattr(part, "channels", rows)
    if rows != wanted:
        raise CheckpointError(f"the coding tables of {place} in {path} have {rows} rows: expected {wanted}")
