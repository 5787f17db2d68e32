"""A sample of points: a dict of tensors or what is like one, checked, and copied with changes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, int64

from tinify.errors import InputError


def changed(data: Any, **values: Tensor) -> Any:
    """A copy of a sample that has these values."""
    made = copy.copy(data)
    for name, value in values.items():
        made[name] = value
    return made


def taken(data: Any, attrs: Sequence[str], index: Tensor) -> Any:
    """A copy of a sample with these rows of its attributes."""
    return changed(data, **{name: data[name][index.to(data[name].device)] for name in attrs})


def points_of(data: Any) -> Tensor:
    """``pos``, floats (points, 3). Raises :class:`~tinify.errors.InputError` where that is not so."""

    def fit(pos: Tensor) -> bool:
        return pos.ndim == 2 and pos.shape[1] == 3 and len(pos) > 0 and pos.is_floating_point()

    return _tensor(data, "pos", "a float tensor (points, 3)", fit)


def faces_of(data: Any) -> Tensor:
    """``face``, int64 (3, faces), places in ``pos``. Raises :class:`~tinify.errors.InputError` where that is not so."""

    def fit(face: Tensor) -> bool:
        whole = face.ndim == 2 and len(face) == 3 and face.dtype == int64
        return whole and (not face.numel() or 0 <= int(face.min()) <= int(face.max()) < len(data["pos"]))

    return _tensor(data, "face", "an int64 tensor (3, faces) of places in 'pos', is this a mesh?", fit)


def _tensor(data: Any, name: str, expected: str, fit: Callable[[Tensor], bool]) -> Tensor:
    if name not in data:
        raise InputError(f"a sample without {name!r}: expected {expected}")
    value = data[name]
    if not isinstance(value, Tensor) or not fit(value):
        found = f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise InputError(f"{name!r} of a sample is {found}: expected {expected}")
    return value


def rows_of(data: Any, attrs: Sequence[str]) -> int:
    """How many points there are. Raises :class:`~tinify.errors.InputError` where these do not have a row for each."""
    missing = [name for name in attrs if name not in data or not isinstance(data[name], Tensor) or not data[name].ndim]
    if missing or not attrs:
        raise InputError(f"a sample without tensors {', '.join(missing) or 'to take'}: expected attrs that it has")
    lengths = {name: len(data[name]) for name in attrs}
    if len(set(lengths.values())) > 1 or not lengths[attrs[0]]:
        raise InputError(f"rows of {lengths}: expected as many of each, and one at least")
    return lengths[attrs[0]]
