"""``tinify freeze`` from weights to files that decode: its report, checkpoints of the field, and how it fails."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_cli import fail, run, succeed
from test_portable import lively

import tinify
from tinify.checkpoint import load_checkpoint, save_model
from tinify.models import Cheng2020AnchorCheckerboard, MeanScaleHyperprior


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for number in range(12):
        small = Image.fromarray(random.integers(0, 256, (9, 11, 3), np.uint8))
        small.resize((90, 70), Image.Resampling.BICUBIC).save(folder / f"{number:02}.png")
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_model(lively("mbt2018-mean", N=8, M=12), path, training={"step": 7})
    return path


def test_frozen_weights_compress_and_say_what_they_are(weights: Path, photos: Path, tmp_path: Path) -> None:
    out, coded = tmp_path / "portable.safetensors", tmp_path / "photo.tfy"
    assert "portable, 3 layers of integers" in succeed("freeze", weights, out, "--portable", "--calibrate", photos)
    facts = json.loads(succeed("info", out, "--json"))
    assert (facts["arithmetic"], facts["step"]) == ("portable", 7)
    assert json.loads(succeed("info", weights, "--json"))["arithmetic"] == "float32"
    succeed("compress", photos / "00.png", coded, "--model", out)
    assert json.loads(succeed("info", coded, "--json"))["arithmetic"] == "portable"
    succeed("decompress", coded, tmp_path / "back.png", "--model", out)
    succeed("decompress", coded, tmp_path / "exact.png", "--model", out, "--exact-pixels")
    back, exact = (np.asarray(Image.open(tmp_path / f"{name}.png")).astype(int) for name in ("back", "exact"))
    assert int(np.abs(back - exact).max()) <= 1
    succeed("compress", photos / "00.png", tmp_path / "float.tfy", "--model", weights)
    wrong = fail("decompress", tmp_path / "float.tfy", tmp_path / "no.png", "--model", weights, "--exact-pixels")
    assert "tinify freeze --portable" in wrong
    assert not (tmp_path / "no.png").exists()
    assert "give the weights it was coded with" in fail("decompress", coded, tmp_path / "no.png", "--model", weights)


def test_a_report_measures_the_cost(weights: Path, photos: Path, tmp_path: Path) -> None:
    table = tmp_path / "cost.json"
    said = json.loads(
        succeed(
            *("freeze", weights, tmp_path / "portable.safetensors", "--portable", "--calibrate", photos),
            *("--pictures", 10, "--tune", 2, "--report", photos, "--out", table, "--json"),
        )
    )
    assert said["layers"] == 3
    assert json.loads(table.read_text()) == said["report"]
    rates = [codec["points"][0]["bpp"] for codec in said["report"]["codecs"]]
    assert len(rates) == 2
    assert rates[1] == pytest.approx(rates[0], rel=0.05)


@pytest.mark.parametrize(
    "model", [MeanScaleHyperprior(8, 12), Cheng2020AnchorCheckerboard(8)], ids=["mean-scale", "checkerboard"]
)
def test_imported_checkpoints_freeze(model: torch.nn.Module, photos: Path, tmp_path: Path) -> None:
    model.update()  # type: ignore[operator]
    torch.save(model.state_dict(), tmp_path / "theirs.pth.tar")
    succeed("import-compressai", tmp_path / "theirs.pth.tar", tmp_path / "ours.safetensors")
    out, coded = tmp_path / "portable.safetensors", tmp_path / "photo.tfy"
    succeed("freeze", tmp_path / "ours.safetensors", out, "--portable", "--calibrate", photos, "-q")
    assert load_checkpoint(out).arithmetic == "portable"
    succeed("compress", photos / "01.png", coded, "--model", out)
    succeed("decompress", coded, tmp_path / "back.png", "--model", out)
    assert np.asarray(Image.open(tmp_path / "back.png")).shape == (70, 90, 3)


def test_what_it_cannot_do_is_said(weights: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "portable.safetensors"
    assert "--portable --calibrate DIR" in fail("freeze", weights, out, "--calibrate", photos)
    assert "--portable --calibrate DIR" in fail("freeze", weights, out, "--portable")
    portable = ("--portable", "--calibrate", photos)
    assert "expected 10 to 100" in fail("freeze", weights, out, *portable, "--pictures", 3)
    assert "does not end in .safetensors" in fail("freeze", weights, tmp_path / "portable.bin", *portable)
    assert "give pictures to measure by" in fail("freeze", weights, out, *portable, "--out", tmp_path / "cost.md")
    assert "is not a folder" in fail("freeze", weights, out, "--portable", "--calibrate", tmp_path / "nowhere")
    assert not out.exists()
    succeed("freeze", weights, out, *portable)
    assert "portable already" in fail("freeze", out, tmp_path / "again.safetensors", *portable)
    assert run("freeze", "no-such-model", out, *portable).returncode == 2


def test_training_goes_on_from_portable_weights(weights: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "portable.safetensors"
    succeed("freeze", weights, out, "--portable", "--calibrate", photos)
    run_folder = tmp_path / "run"
    succeed(
        *("train", "mbt2018-mean", "--set", "N=8", "--set", "M=12", "--data", photos, "--val", photos, "--lmbda", 0.01),
        *("--steps", 1, "--crop", 64, "--batch", 1, "--weights", out, "--out", run_folder, "-q"),
    )
    assert load_checkpoint(run_folder / "model.safetensors").arithmetic == "float32"


def test_what_codes_no_pictures_is_refused(photos: Path, tmp_path: Path) -> None:
    points = tmp_path / "points.safetensors"
    save_model(tinify.create_model("sfu2023-pcc-rec-pointnet").eval(), points)
    said = fail("freeze", points, tmp_path / "out.safetensors", "--portable", "--calibrate", photos)
    assert "codes point clouds, and a calibration takes pictures" in said
    video = tmp_path / "video.safetensors"
    save_model(tinify.create_model("ssf2020", N=8, M=8).eval(), video)
    portable = ("--portable", "--calibrate", photos, "--report", photos)
    assert "--report measures pictures: leave it out" in fail("freeze", video, tmp_path / "out.safetensors", *portable)
    assert not (tmp_path / "out.safetensors").exists()
