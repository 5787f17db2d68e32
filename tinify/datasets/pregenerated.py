"""Crops made beforehand, in one file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from tinify.datasets.image import DatasetError, Transform
from tinify.errors import InputError

_FILES = {"train": "training.npy", "valid": "validation.npy"}


class PreGeneratedMemmapDataset(Dataset[Any]):
    """Pictures of one size from ``root/training.npy``, or ``validation.npy`` for ``split="valid"``.

    These files are bare samples, uint8 (pictures, height, width, 3), without the header that the suffix promises; they
    are mapped, not read. ``image_size`` is one side, or height and width. An item is ``transform`` of a Pillow image of
    mode RGB. Raises :class:`~tinify.errors.InputError` for another split, :class:`~tinify.datasets.DatasetError` for a
    file that is missing, or not of whole pictures of that size.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        transform: Transform | None = None,
        split: str = "train",
        image_size: int | tuple[int, int] = (256, 256),
    ) -> None:
        if split not in _FILES:
            raise InputError(f"unknown split {split!r}: expected 'train' or 'valid'")
        height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
        path = Path(root) / _FILES[split]
        if not path.is_file():
            raise DatasetError(f"{path} is missing: expected samples, uint8 (pictures, {height}, {width}, 3)")
        pictures, rest = divmod(path.stat().st_size, 3 * height * width)
        if rest or not pictures:
            raise DatasetError(
                f"{path} has {path.stat().st_size} bytes, not a multiple of {height}x{width}x3: give its image_size"
            )
        self.image_size = (height, width)
        self.transform = transform
        self.data = np.memmap(path, np.uint8, "r", shape=(pictures, height, width, 3))

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Any:
        image = Image.fromarray(self.data[index])
        return self.transform(image) if self.transform else image
