"""The pictures of a folder, as every codec gets them: RGB of 8 bits, in the order of their names."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinify.errors import DataError, ImageError
from tinify.evaluation.codec import Pixels
from tinify.evaluation.results import PictureSet
from tinify.images import SUFFIXES, read_picture

_DIGITS = 16


@dataclass(frozen=True)
class Folder:
    """Files that were found to be pictures, and what a result says of them."""

    paths: tuple[Path, ...]
    facts: PictureSet

    def __iter__(self) -> Iterator[tuple[str, Pixels]]:
        """Name and pixels of each, read as they are asked for."""
        for name, path in zip(self.facts.names, self.paths, strict=True):
            yield name, read_pixels(path)

    @property
    def largest(self) -> Path:
        """The picture with most pixels."""
        areas = [width * height for width, height in self.facts.sizes]
        return self.paths[areas.index(max(areas))]


def read_pixels(path: Path) -> Pixels:
    """A picture as uint8 (height, width, 3); grey is repeated, alpha and metadata are left out."""
    pixels = read_picture(path).pixels
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def open_folder(path: str | os.PathLike[str], limit: int | None = None) -> Folder:
    """The pictures in a folder (not in folders below it), or the one that ``path`` is; at most the first ``limit``.

    What cannot be read is left out, and told in ``skipped``. Raises :class:`~tinify.errors.DataError` where there is
    no picture at all.
    """
    root = Path(path)
    try:
        found = sorted(p for p in root.iterdir() if p.suffix.lower() in SUFFIXES) if root.is_dir() else [root]
    except OSError as error:
        raise DataError(f"the folder {root} cannot be read: {error.strerror}; choose another") from error
    if not root.exists():
        raise DataError(f"there is no folder {root}: give one with pictures")
    paths: list[Path] = []
    sizes: list[tuple[int, int]] = []
    skipped: list[str] = []
    digest = hashlib.sha256()
    for candidate in found:
        if len(paths) == limit:
            break
        try:
            pixels = read_pixels(candidate)
        except ImageError as error:
            skipped.append(str(error))
            continue
        height, width, _ = pixels.shape
        digest.update(f"{width}x{height}:".encode() + pixels.tobytes())
        paths.append(candidate)
        sizes.append((width, height))
    if not paths:
        why = f"; of {len(skipped)} files none can be read, the first: {skipped[0]}" if skipped else ""
        raise DataError(f"no pictures in {root}{why}: expected files like {', '.join(sorted(SUFFIXES)[:6])}")
    names = tuple(candidate.name for candidate in paths)
    facts = PictureSet(str(root), len(paths), digest.hexdigest()[:_DIGITS], names, tuple(sizes), tuple(skipped))
    return Folder(tuple(paths), facts)
