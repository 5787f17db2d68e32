"""A folder of pictures, and what all sets of picture files have in common."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torch.utils.data import Dataset

from tinify.errors import DataError
from tinify.images import SUFFIXES, read_picture

Transform = Callable[[Any], Any]


class DatasetError(DataError, RuntimeError):
    """A folder, list or file that a data set is made of is missing, or has nothing in it."""


class Pictures(Dataset[Any]):
    """Picture files, ``samples``; an item is ``transform`` of a Pillow image of mode RGB, or that image without one.

    A file that is no picture, cut short or damaged raises :class:`~tinify.errors.ImageError` with its path.
    """

    def __init__(self, samples: Sequence[Path], transform: Transform | None = None) -> None:
        self.samples = list(samples)
        self.transform = transform

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        image = read_rgb(self.samples[index])
        return self.transform(image) if self.transform else image


def read_rgb(path: Path) -> Image.Image:
    """A picture file as a Pillow image of mode RGB: grey repeated, alpha left out, pixels as stored."""
    pixels = read_picture(path).pixels
    return Image.fromarray(pixels if pixels.shape[2] == 3 else pixels.repeat(3, axis=2))


class ImageFolder(Pictures):
    """The pictures directly in ``root/split``, in the order of their names; other files are passed over.

    An item is ``transform`` of a Pillow image of mode RGB. Raises :class:`DatasetError`, a RuntimeError too, for a
    folder that is missing or has no pictures; an item that cannot be decoded raises
    :class:`~tinify.errors.ImageError` with its path.

    >>> ImageFolder("nowhere")
    Traceback (most recent call last):
    tinify.datasets.image.DatasetError: nowhere/train is not a folder: expected root/split with pictures in it
    """

    def __init__(self, root: str | os.PathLike[str], transform: Transform | None = None, split: str = "train") -> None:
        folder = Path(root) / split
        if not folder.is_dir():
            raise DatasetError(f"{folder} is not a folder: expected root/split with pictures in it")
        samples = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
        if not samples:
            raise DatasetError(f"{folder} has no pictures: expected files ending in {', '.join(sorted(SUFFIXES))}")
        super().__init__(samples, transform)
