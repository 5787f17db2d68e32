"""A data set whose expensive first step is done once and kept on disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch.utils.data import Dataset

from tinify.datasets.image import DatasetError, Transform

Sample = Mapping[str, Any]


class CacheDataset(Dataset[Any]):
    """``transform(pre_transform(sample))``, where all that ``pre_transform`` returns is kept in ``cache_root``.

    A subclass says what there is by ``_get_items()``, a list, and how to read it by ``_load_item(item)``, a dict of
    arrays. The first use writes ``cache_root/NAME.npy`` for each name, (samples, ...); later ones map these files and
    call neither. Without ``cache_root`` nothing is kept. The cache does not know what made it: give another
    ``pre_transform`` another folder.

    Raises :class:`~tinify.datasets.DatasetError` where there are no items, or samples differ in names, shapes or types.
    """

    def __init__(
        self,
        cache_root: str | os.PathLike[str] | None = None,
        pre_transform: Transform | None = None,
        transform: Transform | None = None,
    ) -> None:
        self.cache_root = None if cache_root is None else Path(cache_root)
        self.pre_transform = pre_transform
        self.transform = transform
        self._items: Sequence[Any] | None = None
        self._arrays: dict[str, NDArray[Any]] | None = None

    def _get_items(self) -> Sequence[Any]:
        raise NotImplementedError(f"{type(self).__name__} must say by _get_items() what there is")

    def _load_item(self, item: Any) -> Sample:
        raise NotImplementedError(f"{type(self).__name__} must say by _load_item(item) how an item is read")

    def __len__(self) -> int:
        return len(self._found()) if self.cache_root is None else len(next(iter(self._cached().values())))

    def __getitem__(self, index: int) -> Any:
        if self.cache_root is None:
            sample = self._prepared(self._found()[index])
        else:
            sample = {name: np.array(array[index]) for name, array in self._cached().items()}
        return self.transform(sample) if self.transform else sample

    def _found(self) -> Sequence[Any]:
        if self._items is None:
            self._items = self._get_items()
            if not self._items:
                raise DatasetError(f"{type(self).__name__} has no items")
        return self._items

    def _prepared(self, item: Any) -> Sample:
        sample: Sample = self._load_item(item)
        if self.pre_transform:
            sample = self.pre_transform(sample)
        return sample

    def _cached(self) -> dict[str, NDArray[Any]]:
        if self._arrays is None:
            assert self.cache_root is not None
            if not _is_whole(self.cache_root):
                self._write(self.cache_root)
            self._arrays = {path.stem: np.load(path, mmap_mode="r") for path in sorted(self.cache_root.glob("*.npy"))}
        return self._arrays

    def _write(self, folder: Path) -> None:
        """Fills a folder beside the one wanted, which takes its name when it is whole."""
        making = folder.with_name(f"{folder.name}.{os.getpid()}.part")
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        try:
            self._fill(making)
            _publish(making, folder)
        finally:
            shutil.rmtree(making, ignore_errors=True)

    def _fill(self, folder: Path) -> None:
        files: dict[str, np.memmap[Any, Any]] = {}
        for index, item in enumerate(self._found()):
            sample = {name: np.asarray(value) for name, value in self._prepared(item).items()}
            if index == 0:
                files = {
                    name: open_memmap(folder / f"{name}.npy", "w+", value.dtype, (len(self._found()), *value.shape))
                    for name, value in sample.items()
                }
            _check(item, sample, files)
            for name, value in sample.items():
                files[name][index] = value
        for file in files.values():
            file.flush()


def _is_whole(folder: Path) -> bool:
    return any(folder.glob("*.npy"))


def _publish(making: Path, folder: Path) -> None:
    try:
        making.rename(folder)
    except OSError as error:
        if not _is_whole(folder):  # else another process was faster
            raise DatasetError(f"no cache can be written to {folder}: {error}; it must be new, or empty") from error


def _check(item: Any, sample: Sample, files: Mapping[str, NDArray[Any]]) -> None:
    got = {name: (value.dtype, value.shape) for name, value in sample.items()}
    expected = {name: (file.dtype, file.shape[1:]) for name, file in files.items()}
    if got != expected:
        raise DatasetError(
            f"{item}: a cached sample must be like the first, {expected}, got {got}: make them alike in pre_transform"
        )
