"""State dicts of the field: older spellings of their keys, and what differs where one does not fit a model."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from tinify.entropy_models.base import TABLE_BUFFERS
from tinify.errors import StateDictError

_LISTS = {"matrix": "matrices", "bias": "biases", "factor": "factors"}
_OLDEST = re.compile(r"(^|\.)_(matrices|biases|factors)\.(\d+)$")
_OLD = re.compile(r"(^|\.)_(matrix|bias|factor)(\d+)$")
_WRAPPERS = re.compile(r"^((module|_orig_mod)\.)+")
_SHOWN = 4


def bare_key(key: str) -> str:
    """A key without what data parallelism and compilation put before it."""
    return _WRAPPERS.sub("", key)


def present_key(key: str) -> str:
    """The present spelling of a key: no ``module.`` before it, ``skip`` for ``downsample``, lists in the priors.

    >>> present_key("module.entropy_bottleneck._matrix0")
    'entropy_bottleneck.matrices.0'
    """
    key = bare_key(key).replace(".downsample.", ".skip.")
    key = _OLDEST.sub(r"\1\2.\3", key)
    return _OLD.sub(lambda found: f"{found[1]}{_LISTS[found[2]]}.{found[3]}", key)


def respelt(state_dict: Mapping[str, Tensor], spell: Callable[[str], str]) -> dict[str, Tensor]:
    """A state dict under other keys; raises :class:`~tinify.errors.StateDictError` for what is no state dict."""
    if not isinstance(state_dict, Mapping) or not all(isinstance(key, str) for key in state_dict):
        raise StateDictError(
            f"expected a state dict, which maps names to tensors; got a {type(state_dict).__name__} without names"
        )
    return {spell(key): tensor for key, tensor in state_dict.items()}


def checked(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict from elsewhere under the present spelling of its keys, if all of it are finite tensors."""
    tensors = respelt(state_dict, present_key)
    if isinstance(tensors.get("state_dict"), Mapping):
        raise StateDictError("this is a whole checkpoint of a training run: give the state dict inside, ['state_dict']")
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise StateDictError(f"{name} is of type {type(tensor).__name__}: a state dict maps names to tensors")
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise StateDictError(f"{name} has NaN or infinite weights: the state dict is not usable")
    return tensors


def fit_keys(state_dict: Mapping[str, Tensor], own: Collection[str]) -> dict[str, Tensor]:
    """A state dict under the keys of a model: what it does not know is respelt where it knows that spelling."""
    return respelt(state_dict, lambda key: _fit(key, own))


def differences(state_dict: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    """What is missing, surplus, or of another shape than a model's own tensors; coding tables may have any size."""
    missing = [key for key in own if key not in state_dict]
    surplus = [key for key in state_dict if key not in own]
    found = [f"{what} {_listing(keys)}" for what, keys in (("missing", missing), ("surplus", surplus)) if keys]
    shapes = [
        f"{key} is {tuple(state_dict[key].shape)} where {tuple(tensor.shape)} is expected"
        for key, tensor in own.items()
        if isinstance(state_dict.get(key), Tensor) and not _any_size(key) and state_dict[key].shape != tensor.shape
    ]
    return found + ([_listing(shapes)] if shapes else [])


def size_of(state_dict: Mapping[str, Tensor], key: str, axis: int) -> int:
    """A side of a tensor; ``KeyError`` where there is no such tensor or side."""
    tensor: Any = state_dict[key]
    if not isinstance(tensor, Tensor) or tensor.ndim <= axis:
        raise KeyError(key)
    return tensor.shape[axis]


def _fit(key: str, own: Collection[str]) -> str:
    spelt = key if key in own else present_key(key)
    return spelt if spelt in own else key


def _any_size(key: str) -> bool:
    return key.rpartition(".")[2] in (*TABLE_BUFFERS, "scale_table")


def _listing(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
