"""Handwritten digits, from the four files that MNIST is published as."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from tinify.datasets.image import DatasetError

_FILES = {"train": "train", "test": "t10k"}
_UNSIGNED_BYTES = 8


class MNIST(Dataset[tuple[Any, int]]):
    """The digits of a split, ``"train"`` or ``"test"``: ``images``, uint8 (count, 1, 28, 28), and ``labels``, int64.

    ``root`` is a folder with files named like ``train-images-idx3-ubyte``, packed (``.gz``) or not. An item is
    ``transform`` of an image, or that image without one, and its label. Raises :class:`DatasetError`, a RuntimeError
    too, for files that are missing or damaged. LeCun, Cortes and Burges, The MNIST Database, 1998.

    >>> MNIST("nowhere")
    Traceback (most recent call last):
    tinify.datasets.image.DatasetError: nowhere has no train-images-idx3-ubyte.gz (nor one without .gz): put MNIST's \
files there
    """

    def __init__(
        self, root: str | os.PathLike[str], split: str = "train", transform: Callable[[Tensor], Any] | None = None
    ) -> None:
        if split not in _FILES:
            raise DatasetError(f"split {split!r}: expected 'train' or 'test'")
        folder, name = Path(root), _FILES[split]
        self.images = read_idx(_find(folder, f"{name}-images-idx3-ubyte"))[:, None]
        self.labels = read_idx(_find(folder, f"{name}-labels-idx1-ubyte")).long()
        self.transform = transform
        if self.images.ndim != 4 or self.labels.shape != self.images.shape[:1]:
            raise DatasetError(
                f"{folder}: images of shape {tuple(self.images.shape)} and labels of shape "
                f"{tuple(self.labels.shape)} do not belong together"
            )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image = self.images[index]
        return (self.transform(image) if self.transform else image), int(self.labels[index])


def read_idx(path: str | os.PathLike[str]) -> Tensor:
    """The uint8 array of an idx file, packed by gzip or not.

    Raises :class:`DatasetError` for a file that cannot be read, is no idx file of bytes, or has not as many as it says.
    """
    try:
        data = Path(path).read_bytes()
        data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error
    axes = data[3] if len(data) > 3 else 0
    if data[:2] != b"\0\0" or data[2:3] != bytes([_UNSIGNED_BYTES]) or not axes or len(data) < 4 + 4 * axes:
        raise DatasetError(f"{path} is no idx file of unsigned bytes: it begins with {data[:4].hex() or 'nothing'}")
    shape = [int.from_bytes(data[4 + 4 * axis :][:4], "big") for axis in range(axes)]
    body = bytearray(data[4 + 4 * axes :])
    if len(body) != math.prod(shape):
        raise DatasetError(f"{path} has {len(body)} bytes where it says {shape}: was it cut short? Get it anew")
    return torch.frombuffer(body, dtype=torch.uint8).reshape(shape) if body else torch.empty(shape, dtype=torch.uint8)


def _find(folder: Path, name: str) -> Path:
    for path in (folder / f"{name}.gz", folder / name):
        if path.is_file():
            return path
    raise DatasetError(f"{folder} has no {name}.gz (nor one without .gz): put MNIST's files there")
