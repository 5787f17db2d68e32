"""The state dict in a checkpoint of CompressAI, read without running any code that the file holds."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from tinify.errors import CheckpointError
from tinify.models.state_dict import present_key

_KINDS = ".pth, .pth.tar, .pt or .safetensors"


def read_state_dict(path: Path | str) -> dict[str, Tensor]:
    """The tensors of a checkpoint under the present spelling of their keys.

    ``path`` holds a state dict, or a mapping with one under ``state_dict`` as training scripts write it, as PyTorch or
    safetensors store it. Raises :class:`~tinify.errors.CheckpointError` for anything else; pickled code is refused.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}: give a file ({_KINDS})")
    content = _load_safetensors(path) if path.suffix == ".safetensors" else _load(path)
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not content:
        what = "an empty mapping" if isinstance(content, Mapping) else f"a {type(content).__name__}"
        raise CheckpointError(f"{path} holds {what}: expected a state dict, or a mapping with a 'state_dict'")
    tensors: dict[str, Tensor] = {}
    for name, tensor in content.items():
        _check(path, name, tensor)
        if tensors.setdefault(present_key(name), tensor) is not tensor:
            raise CheckpointError(f"{path} has {present_key(name)} twice, in two spellings: keep one")
    return tensors


def _load(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch suspects of a file, it then says in an error
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).partition("Please file")[0].strip()
        if "GLOBAL" not in reason and "Unsupported" not in reason:
            raise CheckpointError(f"{path} is no checkpoint, or is damaged: expected {_KINDS}") from error
        raise CheckpointError(
            f"{path} holds pickled objects that can run code, and was refused. Where you trust it, load it with the "
            'program that wrote it, and save its weights alone: torch.save(model.state_dict(), "weights.pth")'
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{path} is no checkpoint, or is damaged ({reason}): expected {_KINDS}") from error


def _load_safetensors(path: Path) -> Any:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not a safetensors file, or is damaged: {error}") from error


def _check(path: Path, name: Any, tensor: Any) -> None:
    """A tensor is what its file holds: none is made of a few bytes repeated, or of none at all."""
    if not isinstance(name, str) or not isinstance(tensor, Tensor):
        raise CheckpointError(
            f"{path} has {name!r}, a {type(tensor).__name__}, where a state dict has tensors by name: "
            "save model.state_dict() alone, or under the key 'state_dict'"
        )
    odd = tensor.layout is not torch.strided or tensor.device.type != "cpu" or tensor.is_quantized or tensor.is_nested
    if odd or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise CheckpointError(f"{name} in {path} is no plain tensor: save the weights again with torch.save")
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        raise CheckpointError(f"{name} has NaN or infinite weights; checkpoint {path} is not usable")
