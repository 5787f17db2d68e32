"""Clips of three frames out of folders of sequences."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from tinify.datasets.image import DatasetError, Transform, read_rgb
from tinify.images import SUFFIXES

_FRAMES, _WIDEST = 3, 3


class VideoFolder(Dataset[Any]):
    """Three frames of every sequence that ``root/SPLIT.list`` names, a line each, of the folders in ``root/sequences``.

    With ``rnd_interval`` they are up to three frames apart, with ``rnd_temp_order`` in either order of time.
    ``transform`` gets the three in one array, (height, width, 9) of uint8, so that all are cropped alike, and makes a
    tensor of it whose first axis an item parts into three. Raises :class:`~tinify.datasets.image.DatasetError`, a
    RuntimeError too, where the list or a sequence is missing or too short, and for an item without ``transform``.

    >>> VideoFolder("nowhere")
    Traceback (most recent call last):
    tinify.datasets.image.DatasetError: nowhere/train.list does not exist: it names the sequences, one in a line
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        rnd_interval: bool = False,
        rnd_temp_order: bool = False,
        transform: Transform | None = None,
        split: str = "train",
    ) -> None:
        listed = Path(root) / f"{split}.list"
        if not listed.is_file():
            raise DatasetError(f"{listed} does not exist: it names the sequences, one in a line")
        names = [line.strip() for line in listed.read_text(encoding="utf-8").splitlines() if line.strip()]
        if not names:
            raise DatasetError(f"{listed} names no sequences")
        self.samples = [Path(root) / "sequences" / name for name in names]
        for sample in self.samples:
            count = len(_frames(sample))
            if count < _FRAMES:
                raise DatasetError(f"{sample} has {count} pictures: expected {_FRAMES} frames or more")
        self.rnd_interval, self.rnd_temp_order, self.transform = rnd_interval, rnd_temp_order, transform

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        """The three frames, as a tuple of tensors."""
        if self.transform is None:
            raise DatasetError("a VideoFolder needs a transform: one that makes a tensor of nine channels")
        files, reach = _frames(self.samples[index]), _FRAMES - 1
        interval, first = 1, 0
        if self.rnd_interval:
            interval = random.randint(1, min(_WIDEST, (len(files) - 1) // reach))
            first = random.randint(0, len(files) - 1 - interval * reach)
        chosen = files[first : first + interval * reach + 1 : interval]
        if self.rnd_temp_order and random.random() < 0.5:
            chosen.reverse()
        frames = np.concatenate([np.asarray(read_rgb(file)) for file in chosen], 2)
        return torch.chunk(self.transform(frames), _FRAMES)


def _frames(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("*") if file.suffix.lower() in SUFFIXES)
