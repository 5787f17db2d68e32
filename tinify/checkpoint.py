"""A model on disk: weights and coding tables in safetensors, with the canonical spec inside."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from tinify.entropy_models.base import TABLE_BUFFERS
from tinify.errors import CheckpointError, InputError, StateDictError
from tinify.files import write_atomic
from tinify.models import CompressionModel, build_model
from tinify.models.portable import FLOAT, PORTABLE, SelfTest, check_bounds, portable_shell, settle
from tinify.spec import Architecture
from tinify.weights import FORMAT, read_notes

_CHOOSING = ("scale_table", "scale_bound", ".thresholds")


def model_digest(model: CompressionModel) -> bytes:
    """16 bytes over canonical spec, weights and coding tables: equal digests read each other's files.

    Raises :class:`~tinify.errors.TablesMissingError` for a model without tables.
    """
    model = model.spec_model()
    digest = hashlib.sha256(b"tinify-model-1\0")
    digest.update(model.architecture.id.encode() if model.architecture else b"")
    tables: set[str] = set()
    for path, part in model.entropy_models():
        digest.update(path.encode() + b"\0" + part.tables.digest)
        digest.update(part.coder.name.encode() if part.coder else b"")
        tables |= {f"{path}.{name}" for name in TABLE_BUFFERS}
    for name, tensor in sorted(model.state_dict().items()):
        if name in tables:
            continue
        array = tensor.detach().cpu().contiguous().numpy()
        digest.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(array.tobytes())
    return digest.digest()[:16]


def tables_digest(model: CompressionModel) -> bytes:
    """4 bytes over the coding tables, and over what chooses among them: scale tables and thresholds.

    Raises :class:`~tinify.errors.TablesMissingError` for a model without tables.
    """
    model = model.spec_model()
    digest = hashlib.sha256(b"tinify-tables-1\0")
    for path, part in model.entropy_models():
        digest.update(path.encode() + b"\0" + part.tables.digest)
    for name, tensor in sorted(model.state_dict().items()):
        if name.endswith(_CHOOSING):
            digest.update(name.encode() + b"\0" + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.digest()[:4]


def save_model(model: CompressionModel, path: Path | str, *, training: Mapping[str, Any] | None = None) -> None:
    """Writes weights, tables (built if there are none) and spec to ``path``; the file is complete or absent.

    Weights that are numbers of float16, all of a tensor, are kept as such, in half the room. ``training`` is kept as a
    note. Raises :class:`CheckpointError` for a model with NaN weights or one not built from a
    spec.
    """
    model = model.spec_model()
    if model.architecture is None:
        raise CheckpointError("only a model built from a spec can be saved: this one was assembled by hand")
    model.ensure_tables()
    notes = {"architecture": model.architecture.to_json(), "training": json.dumps(dict(training or {}))}
    if model.arithmetic == PORTABLE:
        notes |= {"arithmetic": PORTABLE, "self_test": model.self_test.to_json()}
    parameters = {name for name, _ in model.named_parameters()}
    tensors = {name: _halved(t) if name in parameters else t for name, t in model.state_dict().items()}
    write_safetensors(Path(path), tensors, notes)


def _halved(tensor: Tensor) -> Tensor:
    half = tensor.half()
    return half if torch.equal(half.to(tensor.dtype), tensor) else tensor


def load_checkpoint(path: Path | str, device: torch.device | str = "cpu") -> CompressionModel:
    """The model that ``save_model`` wrote, in evaluation mode; :class:`CheckpointError` if it cannot be used."""
    tensors, notes = read_safetensors(Path(path))
    if "architecture" not in notes:
        raise CheckpointError(f"{path} is a safetensors file without a tinify spec inside: was it saved by save_model?")
    if any(name.startswith("average.") for name in tensors):
        raise CheckpointError(
            f"{path} is the state of a training run: the weights to use are in model.safetensors beside it"
        )
    model = build_model(Architecture.from_json(notes["architecture"], str(path)))
    _check_finite(tensors, path)
    if notes.get("arithmetic", FLOAT) not in (FLOAT, PORTABLE):
        raise CheckpointError(
            f"{path} is of arithmetic {notes['arithmetic']!r}, not known here: update tinify to use it"
        )
    portable = notes.get("arithmetic") == PORTABLE
    if portable:
        portable_shell(model)
        model.self_test = SelfTest.from_json(notes.get("self_test", ""))
    load_weights(model, tensors, path)
    try:
        for _, part in model.entropy_models():
            _ = part.has_tables and part.tables
        check_bounds(model)
    except InputError as error:
        raise CheckpointError(f"the coding tables in {path} are damaged: {error}") from error
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.eval()
    if portable:
        settle(model)
    return model


def load_weights(model: CompressionModel, tensors: Mapping[str, Tensor], path: Path | str) -> None:
    """Fills a model with the tensors read from ``path``; :class:`CheckpointError` if they are not exactly its own."""
    try:
        model.load_state_dict(dict(tensors))
    except StateDictError as error:
        raise CheckpointError(f"the weights in {path} do not fit the spec inside: {error}") from error


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], notes: Mapping[str, str]) -> None:
    """Writes tensors and text notes atomically; refuses NaN and infinity."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    _check_finite(plain, path)
    write_atomic(path, save(plain, {"tinify_checkpoint": FORMAT, **notes}))


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and notes of a tinify checkpoint; :class:`CheckpointError` for any other file."""
    notes = read_notes(path)
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    return tensors, notes


def _check_finite(tensors: Mapping[str, Tensor], path: Path | str) -> None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{name} has NaN or infinite weights; checkpoint {path} is not usable")
