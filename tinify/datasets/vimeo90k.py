"""Vimeo-90k: frames of short clips."""

from __future__ import annotations

import os
from pathlib import Path

from tinify.datasets.image import DatasetError, Pictures, Transform
from tinify.errors import InputError

_PREFIX = {3: "tri", 7: "sep"}
_LIST = {"train": "trainlist", "valid": "testlist"}


class Vimeo90kDataset(Pictures):
    """Every frame of the triplets (``tuplet=3``) or septuplets (7) of Vimeo-90k, as an unpacked archive has them.

    ``root`` holds ``sequences/`` and the lists ``tri_trainlist.txt``, ``tri_testlist.txt`` (``split="valid"``), or
    ``sep_...``. An item is ``transform`` of a Pillow image of mode RGB. Raises :class:`~tinify.errors.InputError` for
    another tuplet or split, :class:`~tinify.datasets.DatasetError` for a list that is missing or empty.
    Xue et al., Video Enhancement with Task-Oriented Flow, International Journal of Computer Vision 2019.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        transform: Transform | None = None,
        split: str = "train",
        tuplet: int = 3,
    ) -> None:
        if tuplet not in _PREFIX or split not in _LIST:
            raise InputError(f"tuplet={tuplet!r}, split={split!r}: expected 3 or 7, and 'train' or 'valid'")
        self.tuplet = tuplet
        path = Path(root) / f"{_PREFIX[tuplet]}_{_LIST[split]}.txt"
        if not path.is_file():
            raise DatasetError(f"{path} is missing: expected root to be an unpacked archive of Vimeo-90k")
        clips = path.read_text(encoding="utf-8").split()
        if not clips:
            raise DatasetError(f"{path} lists no clips: expected a line like 00001/0001 for each")
        frames = range(1, tuplet + 1)
        samples = [Path(root, "sequences", clip, f"im{frame}.png") for clip in clips for frame in frames]
        super().__init__(samples, transform)
