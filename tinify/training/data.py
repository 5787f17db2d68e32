"""Random crops of folders' photographs, each a pure function of the seed, the step and its place in the batch."""

from __future__ import annotations

import os
import threading
import warnings
from collections import deque
from collections.abc import Callable, Generator, Sequence
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

# A crop that finds only bad files is of a bad folder.
_TRIES = 1000

# Pixels a frame of the motion that a single picture is given.
_FASTEST = 8.0

# Held-out pictures go through the model whole, which on a large one takes gigabytes.
MAX_HELD_OUT = 1024


def list_images(folder: Path) -> list[Path]:
    """Every image file below a folder, sorted; :class:`DataError` if there is none, or a folder cannot be read."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder: expected one with photographs ({', '.join(sorted(SUFFIXES))})")
    found = []
    for where, folders, names in os.walk(folder, onerror=_unreadable):
        folders.sort()
        paths = (Path(where, name) for name in names if Path(name).suffix.lower() in SUFFIXES)
        found += [path for path in paths if path.is_file()]
    if not found:
        raise DataError(f"{folder} has no images: expected files ending in {', '.join(sorted(SUFFIXES))}")
    return sorted(found)


def _unreadable(error: OSError) -> None:
    raise DataError(f"the folder {error.filename} cannot be read: {error.strerror}") from error


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
    was drawn before and however many threads draw, which is what makes a run resume exactly. ``part`` (r, n) draws the
    r-th of n consecutive batches that would make one of n times the size. Unreadable files, and those too small for
    ``crop``, are left out with a warning and counted in ``skipped``.

    With ``frames`` the batch is made of clips, one after another: crops at one place of that many files that follow one
    another in their folder and are of one size, or, of a picture that has none such after it, crops that move over it
    evenly.
    """

    def __init__(
        self,
        files: Sequence[Path],
        crop: int,
        batch: int,
        cache_bytes: int = 2 << 30,
        *,
        workers: int = 1,
        part: tuple[int, int] = (0, 1),
        frames: int = 1,
    ) -> None:
        self.files = list(files)
        self.crop = crop
        self.size = batch
        self.workers = workers
        self.part = part
        self.frames = frames
        self.skipped: dict[Path, str] = {}
        self._cache: dict[int, Pixels] = {}
        self._room = cache_bytes
        self._lock = threading.Lock()

    def batch(self, seed: int, step: int, crop: int = 0, size: int = 0) -> Tensor:
        """The crops of a step, of another side (not over ``crop``) or number where these are given."""
        crop, size = crop or self.crop, size or self.size
        count = size // self.frames
        randoms = (np.random.default_rng((seed, step, self.part[0] * count + i)) for i in range(count))
        crops = np.stack([frame for random in randoms for frame in self._clip(random, crop)])
        return torch.from_numpy(crops).permute(0, 3, 1, 2).float().div_(255)

    def ahead(
        self, seed: int, steps: range, shape: Callable[[int], tuple[int, int]] | None = None
    ) -> Generator[Tensor]:
        """The batches of ``steps`` in turn, made by ``workers`` threads while others are in use.

        ``shape`` says crop and size of a step's batch, if these are not always the same.
        """

        def made(step: int) -> Tensor:
            return self.batch(seed, step, *(shape(step) if shape else ()))

        waiting = iter(steps)
        with ThreadPoolExecutor(self.workers, "crops") as pool:
            try:
                pending = deque(pool.submit(made, step) for step in islice(waiting, self.workers + 1))
                while pending:
                    ready = pending.popleft().result()
                    pending.extend(pool.submit(made, step) for step in islice(waiting, 1))
                    yield ready
            finally:
                pool.shutdown(cancel_futures=True)

    def _clip(self, random: np.random.Generator, side: int) -> list[Pixels]:
        """A crop of each frame, all at one place and flipped alike; of single pictures one crop."""
        for _ in range(_TRIES):
            index = int(random.integers(len(self.files)))
            pixels = self._pixels(index)
            top, left, flip = random.random(3)
            if pixels is not None:
                height, width, _ = pixels.shape
                free = height - side, width - side
                places = [(int(top * (free[0] + 1)), int(left * (free[1] + 1)))] * self.frames
                clip = self._following(index, pixels)
                if len(clip) < self.frames:
                    clip, places = [pixels] * self.frames, _moving(random, places[0], free, self.frames)
                crops = [frame[y : y + side, x : x + side] for frame, (y, x) in zip(clip, places, strict=True)]
                return [crop[:, ::-1] for crop in crops] if flip < 0.5 else crops
        raise DataError(f"none of the images drawn can be used, first: {next(iter(self.skipped.items()))}")

    def _following(self, index: int, first: Pixels) -> list[Pixels]:
        """The pictures from one on that are frames of its clip, as many as are wanted at most."""
        clip = [first]
        for other in range(index + 1, min(index + self.frames, len(self.files))):
            pixels = self._pixels(other) if self.files[other].parent == self.files[index].parent else None
            if pixels is None or pixels.shape != first.shape:
                break
            clip.append(pixels)
        return clip

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
            self._skip(path, str(error))
            return None
        with self._lock:
            if pixels.nbytes <= self._room and index not in self._cache:
                self._room -= pixels.nbytes
                self._cache[index] = pixels
        return pixels

    def _skip(self, path: Path, reason: str) -> None:
        with self._lock:
            known = path in self.skipped
            self.skipped[path] = reason
        if not known:
            warnings.warn(f"skipped {path}: {reason}".replace(f"{path}: {path}", str(path)), stacklevel=2)


def _moving(
    random: np.random.Generator, place: tuple[int, int], free: tuple[int, int], count: int
) -> list[tuple[int, int]]:
    """Places of a crop that moves evenly, as far as the picture goes."""
    speed = random.uniform(-_FASTEST, _FASTEST, 2)
    return [
        tuple(int(np.clip(round(at + k * by), 0, most)) for at, by, most in zip(place, speed, free, strict=True))  # type: ignore[misc]
        for k in range(count)
    ]
