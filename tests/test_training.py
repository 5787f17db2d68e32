"""Training: exact resume, logs, bad folders, and a loss that falls."""

from __future__ import annotations

import csv
import itertools
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_runs import draw_photos, new_state

import tinify
from tinify.checkpoint import load_checkpoint, model_digest
from tinify.errors import CheckpointError, DataError, DivergedError, InputError
from tinify.training.config import TrainingConfig
from tinify.training.data import Crops, list_images, read_usable
from tinify.training.log import RunLog
from tinify.training.loop import Step
from tinify.training.loop import train as train_on
from tinify.training.state import TrainingState


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_photos(tmp_path_factory.mktemp("photos"))


def train(state: TrainingState, files: list[Path], out: Path, held_out: int = 0, **options: Any) -> TrainingState:
    crops = Crops(files, state.config.crop, state.config.batch)
    return train_on(state, crops, out, held_out=read_usable(files[:held_out]), **options)


def weights(state: TrainingState) -> dict[str, torch.Tensor]:
    return {**state.model.state_dict(), **{f"average.{k}": v for k, v in state.average.items()}}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_an_interrupted_run_ends_where_an_uninterrupted_one_does(photos: Path, tmp_path: Path, precision: str) -> None:
    files = list_images(photos)
    whole = train(new_state(precision=precision, validate_every=3), files, _folder(tmp_path / "whole"), held_out=1)

    def interrupt(step: Step) -> None:
        if step.step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    broken = _folder(tmp_path / "broken")
    with pytest.raises(KeyboardInterrupt):
        train(new_state(precision=precision, validate_every=3), files, broken, held_out=1, report=interrupt)
    resumed = TrainingState.load(broken / "state.safetensors", torch.device("cpu"))
    assert resumed.step == 3
    train(resumed, files, broken, held_out=1)
    assert resumed.history == whole.history
    for name, tensor in weights(whole).items():
        assert torch.equal(weights(resumed)[name], tensor), name


def test_checkpoints_are_ready_to_use_and_the_log_is_complete(photos: Path, tmp_path: Path) -> None:
    files = list_images(photos)
    train(new_state(steps=20, validate_every=10), files, tmp_path, held_out=2)
    model = load_checkpoint(tmp_path / "model.safetensors")
    assert all(part.has_tables for _, part in model.entropy_models())
    picture = np.asarray(Image.open(files[0]))
    decoded = tinify.decompress(
        tinify.compress(picture, str(tmp_path / "model.safetensors")), str(tmp_path / "model.safetensors")
    )
    assert decoded.size == (112, 96)
    with (tmp_path / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows if row["loss"]] == [10, 20]
    assert [int(row["step"]) for row in rows if row["val_psnr"]] == [10, 20]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.csv", "model.safetensors", "state.safetensors"]


def test_tensorboard_gets_the_same_figures(photos: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = RunLog(tmp_path / "log.csv", every=2, tensorboard=True)
    train(new_state(steps=4, validate_every=4), list_images(photos), tmp_path, held_out=1, log=log)
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [event.step for event in events.Scalars("train/bpp")] == [2, 4]
    assert [event.step for event in events.Scalars("validation/psnr")] == [4]


def test_the_loss_falls(photos: Path, tmp_path: Path) -> None:
    losses: list[float] = []
    train(new_state(steps=60), list_images(photos), tmp_path, report=lambda step: losses.append(step.loss))
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])


def test_crops_depend_on_seed_and_step_alone(photos: Path) -> None:
    files = list_images(photos)
    one, other = Crops(files, 32, 4), Crops(files, 32, 4, cache_bytes=0)
    one.batch(0, 5)
    assert torch.equal(one.batch(3, 7), other.batch(3, 7))
    assert not torch.equal(one.batch(3, 7), one.batch(3, 8))
    assert torch.equal(list(one.ahead(3, range(6, 9)))[1], other.batch(3, 7))
    batch = one.batch(0, 0)
    assert batch.shape == (4, 3, 32, 32)
    assert 0 <= float(batch.min()) <= float(batch.max()) <= 1


def test_corrupt_images_are_skipped_and_counted(photos: Path, tmp_path: Path) -> None:
    for path in list_images(photos):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8 not a picture")
    (tmp_path / "cut.png").write_bytes(list_images(photos)[0].read_bytes()[:500])
    crops = Crops(list_images(tmp_path), 32, 8)
    with pytest.warns(UserWarning, match="skipped"):
        batches = [crops.batch(0, step) for step in range(8)]
    assert all(batch.shape == (8, 3, 32, 32) for batch in batches)
    assert {path.name for path in crops.skipped} == {"bad.jpg", "cut.png"}
    with pytest.warns(UserWarning, match="skipped"):
        assert len(read_usable(list_images(tmp_path))) == 4
    with pytest.warns(UserWarning, match="skipped"), pytest.raises(DataError, match="none of the 1"):
        read_usable([tmp_path / "bad.jpg"])


def test_folders_without_images_are_named(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no images"):
        list_images(tmp_path)
    with pytest.raises(DataError, match="is not a folder"):
        list_images(tmp_path / "absent")
    crops = Crops(list_images(photos), 4096, 1)
    with pytest.warns(UserWarning, match="smaller than the crop"), pytest.raises(DataError, match="none of the images"):
        crops.batch(0, 0)


def test_files_that_go_missing_are_skipped(photos: Path, tmp_path: Path) -> None:
    for path in list_images(photos):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    crops = Crops(list_images(tmp_path), 32, 8, cache_bytes=0, workers=2)
    crops.batch(0, 0)
    (tmp_path / "1.png").unlink()
    with pytest.warns(UserWarning, match=r"skipped .*1\.png"):
        assert len(list(crops.ahead(0, range(1, 6)))) == 5
    assert [path.name for path in crops.skipped] == ["1.png"]


def test_a_folder_that_cannot_be_read_is_named(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match="cannot be read: Permission denied"):
        list_images(photos)


@pytest.mark.filterwarnings("ignore:.*skipped its batch:UserWarning")
def test_a_diverging_run_stops_and_keeps_its_checkpoint(photos: Path, tmp_path: Path) -> None:
    state = new_state(steps=4)
    train(state, list_images(photos), tmp_path)
    before = (tmp_path / "state.safetensors").read_bytes()
    poisoned = TrainingState.load(tmp_path / "state.safetensors", torch.device("cpu"))
    poisoned.step = 2
    next(iter(poisoned.trained.values())).data.fill_(float("nan"))
    with pytest.raises(DivergedError, match="--resume"):
        train(poisoned, list_images(photos), tmp_path)
    assert (tmp_path / "state.safetensors").read_bytes() == before


def test_a_weights_file_is_not_a_training_state(photos: Path, tmp_path: Path) -> None:
    train(new_state(steps=1), list_images(photos), tmp_path)
    with pytest.raises(CheckpointError, match="not a training checkpoint"):
        TrainingState.load(tmp_path / "model.safetensors", torch.device("cpu"))


def test_settings_are_checked_and_the_schedule_is_a_warm_cosine() -> None:
    config = TrainingConfig(lmbda=1, steps=100, lr=1.0, warmup=10, final=0.1)
    rates = [config.lr_at(step) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0)
    assert rates[100] == pytest.approx(0.1)
    assert all(a >= b for a, b in itertools.pairwise(rates[10:]))
    with pytest.raises(InputError, match="steps: expected an integer, at least 1"):
        TrainingConfig(lmbda=1, steps=0)
    with pytest.raises(CheckpointError, match="beta, lmbda"):
        TrainingConfig.from_dict({k: v for k, v in config.as_dict().items() if k != "lmbda"} | {"beta": 1})
    with pytest.raises(InputError, match="precision: expected 'float32' or"):
        TrainingConfig(lmbda=1, precision="int4")


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def test_weights_in_float16_take_half_the_room_and_are_those_that_were_validated(photos: Path, tmp_path: Path) -> None:
    made = {}
    for store in ("float32", "float16"):
        out = _folder(tmp_path / store)
        made[store] = train(new_state(store=store), list_images(photos), out, held_out=1)
    sizes = [(tmp_path / store / "model.safetensors").stat().st_size for store in made]
    loaded = load_checkpoint(tmp_path / "float16/model.safetensors")
    weights = sum(parameter.numel() for parameter in loaded.parameters())
    assert 1.9 * weights <= sizes[0] - sizes[1] <= 2 * weights, "the rest are tables"
    exact = load_checkpoint(tmp_path / "float32/model.safetensors").state_dict()
    for name, parameter in loaded.named_parameters():
        if not name.endswith("quantiles"):  # those are solved for
            assert torch.equal(parameter, exact[name].half().float()), name
    assert model_digest(loaded) == model_digest(made["float16"].averaged_model())
    assert all(parameter.dtype == torch.float32 for parameter in loaded.parameters())
