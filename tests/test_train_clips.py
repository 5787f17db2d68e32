"""Training on clips: frames that follow one another, or a picture that is made to move."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_clips import clip, saved
from small_runs import draw_photos, everything, reload, run

import tinify
from tinify.errors import InputError
from tinify.training.config import TrainingConfig
from tinify.training.data import Crops, list_images
from tinify.training.state import TrainingState
from tinify.training.validation import validate


def sequences(folder: Path) -> Path:
    """Two folders of frames; the value of a pixel says which."""
    for name, count in (("a", 5), ("b", 4)):
        (folder / name).mkdir(parents=True)
        for k in range(count):
            value = 20 * k + (100 if name == "b" else 0)
            Image.fromarray(np.full((70, 80, 3), value, np.uint8)).save(folder / name / f"{k}.png")
    return folder


def test_a_batch_is_made_of_frames_that_follow_one_another(tmp_path: Path) -> None:
    crops = Crops(list_images(sequences(tmp_path)), 64, 12, frames=3)
    seen = set()
    for step in range(20):
        x = crops.batch(0, step)
        assert x.shape == (12, 3, 64, 64)
        assert torch.equal(x, crops.batch(0, step))
        values = (255 * x[:, 0, 0, 0]).round().int().reshape(4, 3).tolist()
        for first, second, third in values:
            moving = second - first == third - second == 20 and (first >= 100) == (third >= 100)
            assert moving or first == second == third  # the last frames of a folder, which move over themselves
            seen.add(moving)
    assert seen == {True, False}


def test_a_picture_moves_evenly(tmp_path: Path) -> None:
    y, x = np.mgrid[0:200, 0:200]
    Image.fromarray(np.stack([x, y, 0 * x], 2).astype(np.uint8)).save(tmp_path / "ramp.png")
    crops = Crops(list_images(tmp_path), 64, 4, frames=4)
    moved = []
    for step in range(12):
        places = (255 * crops.batch(3, step)[:, :2, 0, 0]).round()
        steps = places.diff(dim=0)
        assert float(steps.abs().max()) <= 9
        moved.append(float((steps - steps[0]).abs().max()))
    assert sorted(moved)[6] <= 1  # evenly, but for rounding, and where the picture ends


def test_one_frame_is_a_batch_as_before(tmp_path: Path) -> None:
    files = list_images(draw_photos(tmp_path / "photos"))
    assert torch.equal(Crops(files, 64, 4).batch(1, 2), Crops(files, 64, 4, frames=1).batch(1, 2))


def begun(steps: int) -> TrainingState:
    torch.manual_seed(0)
    model = tinify.create_model("ssf2020", N=8, M=8)
    config = TrainingConfig(steps=steps, lmbda=0.01, batch=6, crop=128, lr=1e-3, frames=3)
    return TrainingState(model, config)


def test_scale_space_flow_is_trained_on_clips_and_resumes_exactly(tmp_path: Path) -> None:
    frames = saved(tmp_path / "clip", clip(6, 140, 160))
    whole = run(begun(3), frames, tmp_path / "whole")
    run(begun(2), frames, tmp_path / "parts")
    half = reload(tmp_path / "parts")
    half.config = whole.config
    again = run(half, frames, tmp_path / "parts")
    assert all(torch.equal(tensor, everything(again)[name]) for name, tensor in everything(whole).items())
    fresh = everything(begun(3))
    parts = ("img_encoder", "motion_decoder", "res_hyperprior.hyper_encoder")
    for part in parts:
        name = next(key for key in fresh if key.startswith(f"model.{part}") and key.endswith("weight"))
        assert not torch.equal(fresh[name], everything(whole)[name])


def test_clips_are_validated_as_clips() -> None:
    state, pictures = begun(1), clip(5, 130, 140)
    model = state.averaged_model()
    found = validate(model, pictures, state.config)
    assert found.keys() == {"bpp", "psnr", "loss"}
    alone = validate(model, pictures[:1], state.config)
    assert found["bpp"] != alone["bpp"]


def test_what_cannot_be_trained_on_clips_is_named() -> None:
    config = TrainingConfig(lmbda=0.01, frames=2, crop=64)
    with pytest.raises(InputError, match="clips of 2 frames: this model takes pictures"):
        TrainingState(tinify.create_model("mbt2018-mean", N=8, M=8), config)
    with pytest.raises(InputError, match="a batch of 8 does not part"):
        TrainingConfig(lmbda=0.01, frames=3)
    with pytest.raises(InputError, match="for one rate"):
        TrainingConfig(lmbda=(0.01, 0.1), frames=2)
    with pytest.raises(InputError, match="5 frames are no clips of 2"):
        tinify.create_model("ssf2020", N=8, M=8)(torch.rand(5, 3, 128, 128), frames=2)
