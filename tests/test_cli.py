"""The commands as a person meets them: what they print, what they leave behind, and how they fail."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import tinify
from tinify.checkpoint import load_checkpoint, save_model
from tinify.cli import main
from tinify.errors import FileError


@dataclass
class Result:
    returncode: int
    stdout: str
    stderr: str


def run(*arguments: object, cwd: Path | None = None) -> Result:
    """A command in this process, as its own process would run it."""
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        contextlib.chdir(cwd or Path.cwd()),
        pytest.raises(SystemExit) as ended,
    ):
        main([*map(str, arguments)])
    assert isinstance(ended.value.code, int)
    return Result(ended.value.code, out.getvalue(), err.getvalue())


def succeed(*arguments: object, cwd: Path | None = None) -> str:
    result = run(*arguments, cwd=cwd)
    assert result.returncode == 0, result.stderr
    return result.stdout


def fail(*arguments: object, cwd: Path | None = None) -> str:
    """The message of a command that must fail: one named error, no traceback, status 2."""
    result = run(*arguments, cwd=cwd)
    assert result.returncode == 2, result.stderr or result.stdout
    assert "Traceback" not in result.stderr
    assert result.stderr.strip()
    return result.stderr


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    y, x = np.mgrid[0:61, 0:83]
    pixels = np.stack([x * 3, y * 4, (x + y) * 1.5], 2).clip(0, 255).astype(np.uint8)
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(path, exif=exif, icc_profile=b"not looked into")
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_model(tinify.create_model("mbt2018-mean", preset="q1", N=8, M=8).eval(), path)
    return path


@pytest.fixture(scope="module")
def coded(photo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("coded") / "photo.tfy"
    succeed("compress", photo, path, "--quiet")
    return path


def test_a_photograph_goes_through_and_keeps_its_metadata(photo: Path, coded: Path, tmp_path: Path) -> None:
    facts = json.loads(succeed("info", coded, "--json"))
    assert (facts["width"], facts["height"], facts["model"][:12]) == (83, 61, "tinify-photo")
    assert facts["bytes"] == coded.stat().st_size
    for suffix in (".png", ".jpg", ".webp"):
        out = tmp_path / f"back{suffix}"
        assert str(out) in succeed("decompress", coded, out)
        with Image.open(out) as image:
            assert image.size == (83, 61)
            assert image.getexif()[0x0112] == 6
            assert image.info["icc_profile"] == b"not looked into"
    original = np.asarray(Image.open(photo), float)
    error = (np.asarray(Image.open(tmp_path / "back.png"), float) - original) ** 2
    assert 10 * np.log10(255**2 / error.mean()) > 25


def test_outputs_are_named_after_inputs_and_never_lost(photo: Path, tmp_path: Path) -> None:
    shutil.copy(photo, tmp_path / "a.png")
    report = json.loads(succeed("compress", "a.png", "--json", cwd=tmp_path))
    assert report["output"] == "a.tfy"
    assert report["bpp"] == pytest.approx(8 * (tmp_path / "a.tfy").stat().st_size / (61 * 83))
    assert "a.tfy exists" in fail("compress", "a.png", cwd=tmp_path)
    succeed("compress", "a.png", "--force", "--quiet", cwd=tmp_path)
    assert "a.png exists" in fail("decompress", "a.tfy", cwd=tmp_path)
    assert "is the input" in fail("compress", "a.png", "a.png", cwd=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a.tfy"]
    shutil.copy(photo, tmp_path / "b.png")
    assert "does not end in .tfy" in fail("compress", "a.png", "b.png", cwd=tmp_path)  # what `compress *.png` says
    assert (tmp_path / "b.png").read_bytes() == photo.read_bytes()
    assert "folder" in fail("compress", ".", cwd=tmp_path)


def test_sixteen_bit_pictures_are_coded_with_a_note(tmp_path: Path) -> None:
    Image.fromarray(np.arange(300, dtype=np.uint16).reshape(15, 20) * 200).save(tmp_path / "deep.png")
    result = run("compress", "deep.png", cwd=tmp_path)
    assert result.returncode == 0
    assert "16-bit" in result.stderr
    succeed("decompress", "deep.tfy", "back.png", cwd=tmp_path)
    with Image.open(tmp_path / "back.png") as image:
        assert image.mode == "L"


def test_weights_can_be_a_file_and_must_be_the_right_one(
    photo: Path, weights: Path, coded: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.tfy"
    succeed("compress", photo, other, "--model", weights, "--quiet")
    assert "give its weights with --model" in fail("decompress", other, tmp_path / "x.png")
    assert "coded by model" in fail("decompress", coded, tmp_path / "x.png", "--model", weights)
    succeed("decompress", other, tmp_path / "y.png", "--model", weights)
    assert not (tmp_path / "x.png").exists()
    assert "mbt2018-mean" in succeed("info", weights)


def test_bad_pictures_give_one_error_and_leave_nothing(photo: Path, coded: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "cut.png").write_bytes(photo.read_bytes()[: photo.stat().st_size // 2])
    for name, said in [
        ("absent.png", "does not exist"),
        ("empty.png", "empty"),
        ("text.png", "not a picture"),
        ("cut.png", "cut"),
    ]:
        assert said in fail("compress", name, "out.tfy", cwd=tmp_path), name
    assert not (tmp_path / "out.tfy").exists()
    assert "its folder does not exist" in fail("compress", photo, tmp_path / "no" / "out.tfy")
    assert "is not written" in fail("decompress", coded, tmp_path / "out.docx")


def test_bad_files_give_one_error_and_leave_nothing(coded: Path, tmp_path: Path) -> None:
    data = coded.read_bytes()
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 16
    newer = bytearray(data)
    newer[8] = 9
    cases = {
        "empty": (b"", "empty"),
        "other": (b"GIF89a" * 20, "no .tfy file"),
        "text": (data.replace(b"\r\n", b"\n"), "text mode"),
        "cut": (data[:-9], "ends after"),
        "flipped": (bytes(flipped), "damaged"),
        "newer": (bytes(newer), "update tinify"),
        "longer": (data + b"!", "something was appended"),
    }
    for name, (content, said) in cases.items():
        (tmp_path / name).write_bytes(content)
        assert said in fail("decompress", name, "out.png", cwd=tmp_path), name
        assert said in fail("info", name, cwd=tmp_path), name
    assert "does not exist" in fail("decompress", "absent.tfy", "out.png", cwd=tmp_path)
    assert not (tmp_path / "out.png").exists()


def test_unknown_names_are_answered_with_near_ones(photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.tfy"
    assert "did you mean 'tinify-photo'" in fail("compress", photo, out, "--model", "tinify-foto")
    assert "quality 70" in fail("compress", photo, out, "--quality", 70)
    assert "did you mean 'mbt2018-mean'" in fail("show", "mbt2018-men")
    assert "losses" in fail("list", "spec_s")
    assert "unknown" in fail("show", "mbt2018-mean", "--preset", "q9")
    assert "unknown command 'compres': did you mean 'compress'?" in fail("compres")


def test_listing_names_what_is_installed() -> None:
    everything = succeed("list")
    for name in ("bmshj2018-factorized", "tinify-photo", "vocabulary", "gdn", "hyperprior", "autoencoder"):
        assert name in everything
    assert {row["name"] for row in json.loads(succeed("list", "specs", "--json"))["specs"]} >= {"mbt2018-mean"}
    assert "latent_codec.hyper.h_s.4" in succeed("show", "mbt2018-mean", "--preset", "q5")
    assert "default 5" in succeed("show", "conv")


def test_training_runs_resumes_and_refuses(tmp_path: Path) -> None:
    data, out, other = tmp_path / "data", tmp_path / "run", tmp_path / "other"
    data.mkdir()
    for index in range(3):
        pixels = np.random.default_rng(index).integers(0, 256, (80, 96, 3), np.uint8)
        Image.fromarray(pixels).save(data / f"{index}.png")
    (data / "bad.jpg").write_bytes(b"no picture")
    small = ["train", "mbt2018-mean", "--data", data, "--set", "N=8", "--set", "M=8", "--batch", 2]
    fits = [*small, "--crop", 64, "--preset", "q1"]
    assert "has no lambda" in fail(*small, "--out", other)
    assert "multiples of 64" in fail(*small, "--crop", 48, "--preset", "q1", "--out", other)
    assert "smaller than the crop" in fail(*small, "--crop", 128, "--preset", "q1", "--out", other)
    assert "NAME=VALUE" in fail(*fits, "--out", other, "--set", "N")
    assert "unknown" in fail(*fits, "--out", other, "--set", "Q=3")
    assert "does not exist: leave --resume out" in fail(*fits, "--out", other, "--resume")
    result = run(*fits, "--out", out, "--steps", 12)
    assert result.returncode == 0, result.stderr
    assert "skipped 1 of 4 files" in result.stderr
    assert "go on with --resume" in fail(*fits, "--out", out)
    plain = ["train", "mbt2018-mean", "--data", data, "--out", out]
    succeed(*plain, "--resume", "--steps", 14)
    assert json.loads(succeed("info", out / "model.safetensors", "--json"))["step"] == 14
    assert "is a run of mbt2018-mean" in fail("train", "tinify-photo", "--data", data, "--out", out, "--resume")
    assert "model.safetensors beside it" in fail("compress", data / "0.png", "--model", out / "state.safetensors")
    assert "leave --preset, --set and --weights out" in fail(*fits, "--out", out, "--resume")
    tuned = tmp_path / "tuned"
    succeed(*fits, "--out", tuned, "--steps", 1, "--lr", 1e-9, "--weights", out / "model.safetensors")
    before, after = (load_checkpoint(folder / "model.safetensors").state_dict() for folder in (out, tuned))
    assert all(torch.allclose(before[name], after[name], atol=1e-4) for name in before if name.startswith("g_"))
    wider = [*fits[: fits.index("N=8")], "N=12", *fits[fits.index("N=8") + 1 :]]
    assert "do not fit" in fail(*wider, "--out", other, "--weights", out / "model.safetensors")
    assert "too small for MS-SSIM" in fail(*fits, "--out", other, "--metric", "ms-ssim")
    assert "has no images" in fail("train", "mbt2018-mean", "--data", out, "--out", other)
    assert not other.exists()


def test_the_demo_draws_a_picture(photo: Path, tmp_path: Path) -> None:
    text = succeed("demo", "--out", tmp_path / "demo")
    assert "JPEG" in text
    with Image.open(tmp_path / "demo" / "astronaut.side-by-side.png") as sheet:
        assert sheet.width > 3 * 512
    report = json.loads(succeed("demo", photo, "--out", tmp_path / "demo", "--json"))
    ours, jpeg = report["results"]
    assert ours["size"] == (tmp_path / "demo" / "photo.tfy").stat().st_size
    assert jpeg["codec"].startswith("JPEG")


def test_an_unforeseen_fault_is_one_line_too(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinify.codec.Codec.compress", lambda *_: 1 // 0)
    assert "unforeseen ZeroDivisionError" in fail("compress", photo, photo.with_suffix(".tfy"))
    with pytest.raises(ZeroDivisionError):
        main(["compress", str(photo), str(photo.with_suffix(".tfy")), "--debug"])


def test_debug_shows_where_an_error_came_from(tmp_path: Path) -> None:
    with pytest.raises(FileError):
        main(["--debug", "info", str(tmp_path / "absent.tfy")])


def test_listing_in_a_fresh_process_imports_no_torch() -> None:
    code = "import sys, tinify.cli as c\ntry: c.main(['list'])\nfinally: assert 'torch' not in sys.modules"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "tinify-photo" in ended.stdout
