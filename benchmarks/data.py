"""Crops a second of the loader alone, beside what a training step takes: the loader must never be the bottleneck."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image
from report import describe, finish, json_option, machine, table

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


@click.command()
@click.option("--data", "folders", type=click.Path(path_type=Path, exists=True), multiple=True, help="Photographs.")
@click.option("--spec", default="mbt2018-mean", show_default=True, help="The model whose steps want crops.")
@click.option("--crop", default=256, show_default=True)
@click.option("--batch", default=8, show_default=True)
@click.option("--seconds", default=5.0, show_default=True, help="Of each measurement.")
@json_option
def main(folders: tuple[Path, ...], spec: str, crop: int, batch: int, seconds: float, json_file: Path | None) -> None:
    """Measure the loader, over folders of photographs or over files drawn for it."""
    facts = machine(torch.get_num_threads())
    with tempfile.TemporaryDirectory() as made:
        for side in () if folders else (512, 2048):
            draw(Path(made) / f"{side}x{side}", 16, side)
        need = step(spec, crop, batch, seconds)
        found = [
            {"folder": folder.name, "cached": bool(cache), "threads": workers, "crops/s": rate, "of need": rate / need}
            for folder in folders or sorted(Path(made).iterdir())
            for cache in (0, 2 << 30)
            for workers in (1, 2, 4)
            for rate in [loader(list_images(folder), workers, cache, crop, batch, seconds)]
        ]
    click.echo(f"crops of {crop}, a step of {spec} takes {need:.1f} a second; {describe(facts)}\n")
    rows = [[*map(str, list(row.values())[:3]), f"{row['crops/s']:.0f}", f"{row['of need']:.1f}"] for row in found]
    click.echo(table(list(found[0]), rows) + "\n")
    slow = [f"{row['folder']}, {row['threads']} threads: {row['of need']:.2f} of what a step takes" for row in found]
    failures = [text for text, row in zip(slow, found, strict=True) if float(row["of need"]) < 1]
    finish({"machine": facts, "step": need, "loader": found}, failures, json_file)


if __name__ == "__main__":
    main()
