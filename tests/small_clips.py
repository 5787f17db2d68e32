"""Small clips, for the tests of video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Frames = list[NDArray[np.uint8]]


def clip(count: int, height: int = 40, width: int = 60) -> Frames:
    """A pattern that moves."""
    y, x = np.mgrid[0:height, 0:width]
    frames = []
    for k in range(count):
        waves = [127 + 100 * np.sin((x + 2 * k) / (5 + c)) * np.cos((y - k) / (7 - c)) for c in range(3)]
        frames.append(np.stack(waves, 2).astype(np.uint8))
    return frames


def saved(folder: Path, frames: Frames) -> Path:
    """A folder of them."""
    folder.mkdir()
    for k, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{k:03d}.png")
    return folder
