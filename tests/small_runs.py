"""Small pictures and small runs, for the tests of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import tinify
from tinify.training.config import TrainingConfig
from tinify.training.data import Crops, list_images, read_usable
from tinify.training.loop import train
from tinify.training.state import TrainingState


def draw_photos(folder: Path, count: int = 4) -> Path:
    """Pictures of 96 by 112 with edges and gradients."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for index in range(count):
        y, x = np.mgrid[0:96, 0:112]
        waves = [
            127 + 100 * np.sin(x / random.uniform(5, 20) + c + index) * np.cos(y / random.uniform(5, 20))
            for c in range(3)
        ]
        Image.fromarray(np.stack(waves, 2).astype(np.uint8)).save(folder / f"{index}.png")
    return folder


def new_state(steps: int = 6, **options: Any) -> TrainingState:
    """A run of a small model that has not begun."""
    torch.manual_seed(0)
    model = tinify.create_model("mbt2018-mean", N=8, M=8)
    settings = {"lmbda": 0.013, "batch": 2, "crop": 64, "lr": 1e-3, "warmup": 2, "final": 0.1} | options
    return TrainingState(model, TrainingConfig(steps=steps, **settings))


def run(
    state: TrainingState, photos: Path, out: Path, held_out: int = 0, crops: type[Crops] = Crops, **options: Any
) -> TrainingState:
    """Trains on all photos, the first ``held_out`` of which validate."""
    files, workers = list_images(photos), options.pop("workers", 1)
    out.mkdir(exist_ok=True)
    made = crops(files, state.config.crops[-1], state.config.batch, workers=workers)
    return train(state, made, out, held_out=read_usable(files[:held_out]), **options)


def reload(out: Path) -> TrainingState:
    """The state that a run left."""
    return TrainingState.load(out / "state.safetensors", torch.device("cpu"))


def everything(state: TrainingState) -> dict[str, torch.Tensor]:
    """All tensors of a run: weights, averages, moments."""
    return state._tensors()


def assert_same(one: TrainingState, other: TrainingState) -> None:
    """Two runs have come to the same bits."""
    assert (one.step, one.history, one.skipped, one.rollbacks) == (
        other.step,
        other.history,
        other.skipped,
        other.rollbacks,
    )
    assert one.scale == other.scale
    first, second = everything(one), everything(other)
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(second[name], tensor), name
