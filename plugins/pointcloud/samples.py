"""What all sets of cloud files have in common: samples read when they are asked for, the first step kept on disk."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tinify.datasets.cache import CacheDataset
from tinify.datasets.image import DatasetError, Transform
from tinify.errors import FileError, InputError
from tinify.files import read_bytes, write_atomic

from .clouds import MAX_BYTES, Cloud

Root = str | os.PathLike[str] | None
Arrays = dict[str, Any]

_FORM = 1
"""Goes into every key of a cache: count it up where samples are read otherwise than before."""


@dataclass(frozen=True)
class Item:
    """Where a cloud is: its files, the main one first, its place in a file of many, and its class."""

    files: tuple[Path, ...]
    index: int | None = None
    label: int | None = None


class CloudSamples(CacheDataset):
    """``transform(pre_transform(sample))`` of clouds of any sizes, whose files are read when an item is asked for.

    A sample is a dict of tensors: ``pos``, float32 (points, 3), ``normal`` like it, and what else the files have. With
    ``cache_root`` what ``pre_transform`` returns, a dict of numbers, is kept as ``cache_root/split_name/KEY.npz``. The
    key is a digest of the cloud's files (place under ``root``, size, time of change), its class, and ``pre_transform``
    with its parameters: whatever changes makes another file. The code of a transform is not looked at, so give an
    edited one an empty folder.

    Raises :class:`~tinify.datasets.DatasetError` at once where files are missing, InputError for a ``pre_transform``
    that nothing tells from another; an item raises :class:`~tinify.errors.FileError` for a file that is damaged. A
    subclass says by ``_get_items()`` what there is, and by ``_read(item)`` what arrays the files of an item have.
    """

    expected = "files of clouds"
    """What a set looks for, and where it comes from."""

    def __init__(
        self,
        root: Root,
        cache_root: Root = None,
        split: str = "train",
        split_name: str | None = None,
        pre_transform: Transform | None = None,
        transform: Transform | None = None,
    ) -> None:
        if root is None:
            raise DatasetError(f"{type(self).__name__} has no root: name a folder with {self.expected}")
        self.root, self.split, self.split_name = Path(root), split, split_name or split
        super().__init__(cache_root, pre_transform, transform)
        self._made_by = "" if cache_root is None else told(pre_transform)
        if not self.root.exists():
            raise self._missing(f"{self.root} does not exist")
        self._found()

    def __len__(self) -> int:
        return len(self._found())

    def __getitem__(self, index: int) -> Any:
        item = self._found()[index]
        sample = self._prepared(item) if self.cache_root is None else self._kept(self.cache_root, item)
        return self.transform(sample) if self.transform else sample

    def _read(self, item: Item) -> Arrays:
        raise NotImplementedError(f"{type(self).__name__} must say by _read(item) what arrays an item has")

    def _missing(self, problem: str) -> DatasetError:
        return DatasetError(f"{problem}: expected {self.expected}. Nothing is downloaded: put it there")

    def _load_item(self, item: Item) -> dict[str, torch.Tensor]:
        try:
            arrays = self._read(item)
            cloud = Cloud(arrays["pos"], arrays.get("normal"))
        except (ArithmeticError, LookupError, OSError, ValueError) as error:  # InputError among them
            place = "" if item.index is None else f", cloud {item.index},"
            raise FileError(f"{item.files[0]}{place} is damaged, or has another layout: {error}") from error
        arrays |= {"pos": cloud.points} if cloud.normals is None else {"pos": cloud.points, "normal": cloud.normals}
        return {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}

    def _kept(self, cache_root: Path, item: Item) -> dict[str, torch.Tensor]:
        """The sample out of the cache, where it is put if it is not there, or not whole."""
        path = cache_root / self.split_name / f"{self._key(item)}.npz"
        with contextlib.suppress(Exception):  # where it is not there, or not whole: zip has many errors for that
            return _unpacked(path)
        data = _packed(self._prepared(item))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DatasetError(f"no cache can be written to {path.parent}: {error.strerror}") from error
        write_atomic(path, data)
        return _unpacked(path)

    def _key(self, item: Item) -> str:
        try:
            found = [(os.path.relpath(file, self.root), file.stat()) for file in item.files]
        except OSError as error:
            raise FileError(f"{error.filename} was there, and is no more: {error.strerror}") from error
        files = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in found]
        made_by = (_FORM, type(self).__name__, files, item.index, item.label, self._made_by)
        return hashlib.sha256(repr(made_by).encode()).hexdigest()[:32]


def told(value: Any) -> str:
    """A transform in words that are the same in every process: its class, and its parameters by their names.

    Raises :class:`~tinify.errors.InputError` for one that has no such words: a lambda, a function within another, a
    network.

    >>> told([round, 0.5])
    '[builtins.round, 0.5]'
    """
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | torch.dtype | Path):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{told(key)}: {told(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(told, value)) + "]"
    if inspect.isroutine(value) or inspect.isclass(value):
        owner = getattr(value, "__self__", None)  # of a bound method an object, of a builtin its module
        if "<" not in value.__qualname__ and (owner is None or inspect.ismodule(owner)):
            return f"{value.__module__}.{value.__qualname__}"
    elif is_dataclass(value) or _all_in_dict(value):
        names = [one.name for one in fields(value) if one.compare] if is_dataclass(value) else sorted(vars(value))
        parameters = ", ".join(f"{name}={told(getattr(value, name))}" for name in names)
        return f"{type(value).__module__}.{type(value).__qualname__}({parameters})"
    raise InputError(
        f"pre_transform has {value!r:.80}, which cannot be told from another in a cache: use a function of a module, "
        "or an object with numbers and words for parameters; or give no cache_root"
    )


def _all_in_dict(value: Any) -> bool:
    """Whether its attributes are all that an object is made of; such have no way of their own to be copied."""
    own = any({"__reduce__", "__reduce_ex__"} & vars(kind).keys() for kind in type(value).__mro__[:-1])
    return hasattr(value, "__dict__") and not own


def read_table(path: Path, columns: Sequence[int], delimiter: str | None = None) -> NDArray[np.float32]:
    """The numbers in a text file, (rows, columns), a row in each line; ``columns`` are the counts that it may have.

    Raises :class:`~tinify.errors.FileError` for a file that is missing, empty, or has other columns, and ValueError
    for what is no number.
    """
    text = read_bytes(path, MAX_BYTES).decode("utf-8")
    if not text.strip():
        raise FileError(f"{path} has no rows: make or fetch it again")
    rows = np.loadtxt(text.splitlines(), np.float32, delimiter=delimiter, ndmin=2)
    if rows.shape[1] not in columns:
        wanted = " or ".join(map(str, columns))
        raise FileError(f"{path} has {rows.shape[1]} columns: expected {wanted}, was it made by another program?")
    return rows


def _packed(sample: Any) -> bytes:
    if not isinstance(sample, Mapping):
        raise InputError(
            f"pre_transform gave a {type(sample).__name__}, which no cache keeps: expected a dict of tensors; ToDict "
            "at its end makes one"
        )
    arrays = {str(name): np.asarray(value) for name, value in sample.items()}
    other = [name for name, array in arrays.items() if array.dtype.kind not in "biuf"]
    if other:
        raise InputError(f"pre_transform gave {', '.join(other)} that are no numbers, and the cache keeps no others")
    stream = BytesIO()
    np.savez(stream, **arrays)  # type: ignore[arg-type]
    return stream.getvalue()


def _unpacked(path: Path) -> dict[str, torch.Tensor]:
    with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as archive:
        return {name: torch.from_numpy(archive[name]) for name in archive.files}
