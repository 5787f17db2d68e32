"""Random crops of a folder's photographs, each batch a pure function of the seed and the step."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tinify.errors import DataError, TinifyError
from tinify.images import SUFFIXES, read_picture

Pixels = NDArray[np.uint8]

# A batch that finds only bad files is a bad folder.
_TRIES = 1000

# Held-out pictures go through the model whole, which on a large one takes gigabytes.
MAX_HELD_OUT = 1024


def list_images(folder: Path) -> list[Path]:
    """Every image file below a folder, sorted; :class:`DataError` if there is none."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder: expected one with photographs ({', '.join(sorted(SUFFIXES))})")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise DataError(f"{folder} has no images: expected files ending in {', '.join(sorted(SUFFIXES))}")
    return found


def read_rgb(path: Path) -> Pixels:
    """A picture as (height, width, 3), grey repeated."""
    pixels = read_picture(path).pixels
    return pixels if pixels.shape[2] == 3 else pixels.repeat(3, axis=2)


def read_usable(files: Sequence[Path]) -> list[Pixels]:
    """The pictures that can be read, cut to the middle ``MAX_HELD_OUT`` pixels a side.

    Others are left out with a warning; :class:`DataError` if none is left.
    """
    pictures = []
    for path in files:
        try:
            pixels = read_rgb(path)
            top, left = (max(0, side - MAX_HELD_OUT) // 2 for side in pixels.shape[:2])
            pictures.append(pixels[top : top + MAX_HELD_OUT, left : left + MAX_HELD_OUT])
        except TinifyError as error:
            warnings.warn(f"skipped {error}", stacklevel=2)
    if files and not pictures:
        raise DataError(f"none of the {len(files)} validation pictures can be read, first: {files[0]}")
    return pictures


class Crops:
    """Random crops, flipped at random, from files decoded once and kept in memory up to ``cache_bytes``.

    ``batch(seed, step)`` returns (batch, 3, crop, crop) in [0, 1]. The same seed and step give the same crops whatever
    was drawn before, which is what makes a run resume exactly. Unreadable or too small files are left out with a
    warning and counted in ``skipped``.
    """

    def __init__(self, files: Sequence[Path], crop: int, batch: int, cache_bytes: int = 2 << 30) -> None:
        self.files = list(files)
        self.crop = crop
        self.size = batch
        self.skipped: dict[Path, str] = {}
        self._cache: dict[int, Pixels] = {}
        self._room = cache_bytes

    def batch(self, seed: int, step: int) -> Tensor:
        random = np.random.default_rng((seed, step))
        crops = np.stack([self._crop(random) for _ in range(self.size)])
        return torch.from_numpy(crops).permute(0, 3, 1, 2).float().div_(255)

    def ahead(self, seed: int, steps: range) -> Callable[[], Tensor]:
        """A function that returns the batches of ``steps`` in turn; the next one is made while the last is in use."""
        pool = ThreadPoolExecutor(1, "crops")
        waiting = iter(steps)
        pending = deque(pool.submit(self.batch, seed, step) for step in islice(waiting, 2))

        def following() -> Tensor:
            ready = pending.popleft().result()
            pending.extend(pool.submit(self.batch, seed, step) for step in islice(waiting, 1))
            return ready

        return following

    def _crop(self, random: np.random.Generator) -> Pixels:
        for _ in range(_TRIES):
            pixels = self._pixels(int(random.integers(len(self.files))))
            top, left, flip = random.random(3)
            if pixels is not None:
                height, width, _ = pixels.shape
                y, x = int(top * (height - self.crop + 1)), int(left * (width - self.crop + 1))
                crop = pixels[y : y + self.crop, x : x + self.crop]
                return crop[:, ::-1] if flip < 0.5 else crop
        raise DataError(f"none of the images drawn can be used, first: {next(iter(self.skipped.items()))}")

    def _pixels(self, index: int) -> Pixels | None:
        path = self.files[index]
        if path in self.skipped:
            return None
        if index in self._cache:
            return self._cache[index]
        try:
            pixels = read_rgb(path)
            if min(pixels.shape[:2]) < self.crop:
                raise DataError(f"smaller than the crop of {self.crop} pixels")
        except TinifyError as error:
            self.skipped[path] = str(error)
            warnings.warn(f"skipped {path}: {error}".replace(f"{path}: {path}", str(path)), stacklevel=2)
            return None
        if pixels.nbytes <= self._room:
            self._room -= pixels.nbytes
            self._cache[index] = pixels
        return pixels
