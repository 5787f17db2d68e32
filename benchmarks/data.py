"""Crops a second of the loader alone, beside what a training step takes: the loader must never be the bottleneck."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from tinify.models import create_model
from tinify.training.config import TrainingConfig
from tinify.training.data import Crops, list_images
from tinify.training.processes import Processes
from tinify.training.state import TrainingState
from tinify.training.steps import Stepper


def draw(folder: Path, count: int, side: int) -> None:
    """JPEG files of smoothed noise, which take about as long to decode as photographs."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for index in range(count):
        small = Image.fromarray(random.integers(0, 256, (side // 4, side // 4, 3), np.uint8))
        small.resize((side, side), Image.Resampling.BICUBIC).save(folder / f"{index}.jpg", quality=90)


def loader(files: list[Path], workers: int, cache: int, crop: int, batch: int, seconds: float) -> float:
    """Crops a second, once the first pass over the files is behind where they are cached."""
    crops = Crops(files, crop, batch, cache, workers=workers)
    if cache:
        for index in range(len(files)):
            crops._pixels(index)
    count, begun = 0, time.perf_counter()
    batches = crops.ahead(0, range(10**9))
    for x in batches:
        count += len(x)
        if time.perf_counter() - begun > seconds:
            break
    batches.close()
    return count / (time.perf_counter() - begun)


def step(spec: str, crop: int, batch: int, seconds: float) -> float:
    """Crops a second of the steps alone."""
    state = TrainingState(create_model(spec), TrainingConfig(lmbda=0.013, crop=crop, batch=batch))
    stepper, x = Stepper(state, Processes()), torch.rand(batch, 3, crop, crop)
    stepper(x)
    count, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        stepper(x)
        count += batch
    return count / (time.perf_counter() - begun)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, action="append", help="folder of photographs; may be repeated")
    parser.add_argument("--spec", default="mbt2018-mean")
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=5.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        for side in (512, 2048):
            draw(Path(made) / f"jpeg-{side}", 16, side)
        folders = given.data or sorted(Path(made).iterdir())
        need = step(given.spec, given.crop, given.batch, given.seconds)
        print(json.dumps({"step": given.spec, "crops_per_second": round(need, 1)}))
        for folder in folders:
            for cache in (0, 2 << 30):
                for workers in (1, 2, 4):
                    rate = loader(list_images(folder), workers, cache, given.crop, given.batch, given.seconds)
                    row = {"folder": folder.name, "cache": bool(cache), "workers": workers}
                    print(json.dumps({**row, "crops_per_second": round(rate, 1), "of_need": round(rate / need, 1)}))


if __name__ == "__main__":
    main()
