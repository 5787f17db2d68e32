"""Evaluations through real files: figures that can be worked out by hand, anybody's codecs, and what goes wrong."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import sys
import zlib
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import tinify
from tinify.checkpoint import save_model
from tinify.cli import cli
from tinify.codec import Codec
from tinify.errors import DataError, InputError, MissingPackageError, PluginError, TinifyError, UnknownNameError
from tinify.evaluation.bench import evaluate, joined
from tinify.evaluation.codec import PictureCodec, Pixels, open_codec
from tinify.evaluation.memory import peak_memory
from tinify.evaluation.models import ModelCodec
from tinify.evaluation.perceptual import find_lpips
from tinify.evaluation.pictures import open_folder, read_pixels
from tinify.evaluation.published import KODAK
from tinify.evaluation.quality import LOSSLESS, compare
from tinify.evaluation.results import Results, load
from tinify.images import read_picture
from tinify.metrics import ms_ssim
from tinify.plugin import component
from tinify.registry import get_registry


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One picture that is large enough for MS-SSIM, a small grey one, a damaged one, and a file that is none."""
    folder = tmp_path_factory.mktemp("photos")
    y, x = np.mgrid[:164, :176]
    waves = np.stack([np.sin(x / 9 + c) * np.cos(y / (7 + c)) for c in range(3)], 2)
    grain = np.random.default_rng(0).normal(0, 4, waves.shape)
    colour = np.clip(128 + 70 * waves + grain, 0, 255).astype(np.uint8)
    Image.fromarray(colour).save(folder / "b-colour.png")
    Image.fromarray(colour[:30, :40, 0]).save(folder / "a-grey.png")
    (folder / "c-damaged.png").write_bytes((folder / "b-colour.png").read_bytes()[:999])
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = tinify.create_model("bmshj2018-hyperprior", N=8, M=12).eval()
    model.update()
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_model(model, path)
    return path


@pytest.fixture(scope="module")
def results(photos: Path) -> Results:
    return evaluate(["jpeg", "webp"], photos, points=4, anchor="jpeg", rounds=1, memory=False)


def run(*words: object) -> Result:
    return CliRunner().invoke(cli, list(map(str, words)))


def test_figures_are_those_of_the_files(photos: Path, results: Results) -> None:
    """Worked out anew, plainly, from what Pillow writes."""
    picture = Image.open(photos / "b-colour.png")
    for point in results.codec("jpeg").points:
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=int(point.quality or 0), subsampling=2, optimize=True)
        decoded = np.asarray(Image.open(stream), float)
        score = point.pictures[1]
        assert score.name == "b-colour.png"
        assert score.bytes == len(stream.getvalue())
        assert score.bpp == 8 * score.bytes / (164 * 176)
        error = np.square(decoded - np.asarray(picture, float)).mean()
        assert score.psnr == pytest.approx(10 * math.log10(255**2 / error))
        a, b = (torch.tensor(np.asarray(one, np.float32)).permute(2, 0, 1)[None] / 255 for one in (decoded, picture))
        assert score.ms_ssim == pytest.approx(float(ms_ssim(a, b)))
        assert score.encode_s > 0
        assert score.decode_s > 0


def test_points_are_means(results: Results) -> None:
    for codec in results.codecs:
        assert [point.bpp for point in codec.points] == sorted(point.bpp for point in codec.points)
        for point in codec.points:
            for name in ("bpp", "psnr", "psnr_yuv", "psnr_y", "psnr_u", "psnr_v", "encode_s", "decode_s"):
                assert getattr(point, name) == pytest.approx(fmean(getattr(s, name) for s in point.pictures))
            assert [score.ms_ssim is None for score in point.pictures] == [True, False]
            assert point.ms_ssim == point.pictures[1].ms_ssim
            assert point.estimated_bpp is None


def test_what_was_measured_is_told(photos: Path, results: Results) -> None:
    facts = results.pictures
    assert (facts.names, facts.sizes) == (("a-grey.png", "b-colour.png"), ((40, 30), (176, 164)))
    assert facts.count == 2
    assert [name for name in facts.skipped if "c-damaged.png" in name] == list(facts.skipped)
    assert open_folder(photos, limit=1).facts.digest != facts.digest == open_folder(photos).facts.digest
    assert {(d.codec, d.anchor, d.metric) for d in results.bd} == {
        ("webp", "jpeg", metric) for metric in ("psnr", "psnr_yuv", "ms_ssim")
    }
    assert results.machine.torch == torch.__version__


@given(st.integers(0, 2**32 - 1))
def test_yuv_is_that_of_the_standard(seed: int) -> None:
    generator = np.random.default_rng(seed)
    a, b = (generator.integers(0, 256, (5, 7, 3), np.uint8) for _ in range(2))
    rgb = (a.astype(float) - b) / 255
    y = rgb @ [0.2126, 0.7152, 0.0722]
    planes = (y, (rgb[..., 2] - y) / 1.8556, (rgb[..., 0] - y) / 1.5748)
    expected = [-10 * math.log10(np.square(plane).mean()) for plane in planes]
    found = compare(a, b)
    assert [found.psnr_y, found.psnr_u, found.psnr_v] == pytest.approx(expected, abs=1e-3)
    assert found.psnr_yuv == pytest.approx((6 * expected[0] + expected[1] + expected[2]) / 8, abs=1e-3)
    assert compare(a, a).psnr_yuv == compare(a, a).psnr == LOSSLESS


def test_models_are_measured_as_their_codec_codes(photos: Path, checkpoint: Path) -> None:
    codec = Codec(tinify.load_model(checkpoint))
    found = evaluate([str(checkpoint)], photos, rounds=1, memory=False).codecs[0]
    assert found.label == "small"
    assert found.parameters == sum(parameter.numel() for parameter in codec.model.parameters())
    assert found.kmac_per_pixel is not None
    assert [point.quality for point in found.points] == [None]
    for score in found.points[0].pictures:
        picture = read_picture(photos / score.name)
        colour = read_pixels(photos / score.name)
        assert score.bytes == len(codec.compress(colour))
        assert score.estimated_bpp == pytest.approx(codec.estimate(picture) * score.bpp / (8 * score.bytes))
        assert score.psnr == pytest.approx(compare(colour, codec.decompress(codec.compress(colour)).pixels).psnr)


def test_checkpoints_join_in_one_curve(photos: Path, checkpoint: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    other.write_bytes(checkpoint.read_bytes())
    found = evaluate([str(checkpoint), str(other)], photos, rounds=1, memory=False, join="both", limit=1)
    assert [codec.name for codec in found.codecs] == ["both"]
    assert len(found.codecs[0].points) == 2
    assert joined(found.codecs, "again").parameters == found.codecs[0].parameters


def test_weights_of_several_qualities_are_one_codec(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    other = tmp_path / "other.safetensors"
    save_model(tinify.create_model("bmshj2018-factorized", N=8, M=8).eval(), other)
    known = {"some-q2": other, "some-q10": checkpoint, "some-q": other, "awesome-q1": other}
    monkeypatch.setattr(type(get_registry()), "weight_files", lambda self: known)
    codec = open_codec("some")
    assert codec.settings == (2, 10)
    pixels = np.zeros((20, 30, 3), np.uint8)
    for quality in codec.settings:
        assert ModelCodec("some").decode(codec.encode(pixels, quality)).shape == pixels.shape
    with pytest.raises(InputError, match="qualities 2, 10"):
        codec.encode(pixels, 3)


def test_models_of_variable_rate_have_the_whole_qualities(photos: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = tmp_path / "variable.safetensors"
    save_model(tinify.create_model("tinify-photo", N=8, M=8, Z=8, F=8, B=1, D=1).eval(), path)
    codec = open_codec(str(path))
    assert codec.limits == (1, 10)
    assert list(codec.settings) == list(range(1, 11))
    found = evaluate([str(path)], photos, rounds=1, memory=False, limit=1, qualities={"": [1, 5.5]}).codecs[0]
    own, pixels = Codec(tinify.load_model(path)), read_pixels(photos / "a-grey.png")
    sizes = {point.quality: point.pictures[0].bytes for point in found.points}
    assert sizes == {quality: len(own.compress(pixels, quality)) for quality in (1, 5.5)}
    estimates = {point.quality: point.pictures[0].estimated_bpp for point in found.points}
    assert estimates[5.5] == pytest.approx(own.at(5.5).estimate(read_picture(photos / "a-grey.png")) / (30 * 40))
    with pytest.raises(InputError, match=r"quality 10\.5: expected 1 to 10"):
        codec.encode(pixels, 10.5)


class Packed(PictureCodec):
    """Samples of fewer bits, deflated, as anybody might write one."""

    settings = (2, 4, 6, 8)
    limits = (1, 8)

    def encode(self, pixels: Pixels, quality: float | None) -> bytes:
        shift = 8 - round(quality or 8)
        return np.array([*pixels.shape[:2], shift], "<u4").tobytes() + zlib.compress((pixels >> shift).tobytes())

    def decode(self, data: bytes) -> Pixels:
        height, width, shift = np.frombuffer(data[:12], "<u4").tolist()
        return np.frombuffer(zlib.decompress(data[12:]), np.uint8).reshape(height, width, 3) << shift


@component("picture_codec", "local/packed", target=f"{__name__}:Packed")
class PackedDeclaration:
    """Samples of fewer bits, deflated."""


def test_a_strangers_codec_is_measured_like_any(photos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or module())
    get_registry().register(PackedDeclaration)
    out = tmp_path / "r.json"
    done = run("bench", photos, "--codecs", "local/packed,jpeg", "--qualities", "local/packed=3,8", "-o", out)
    assert done.exit_code == 0, done.output
    found = load(out)
    assert [point.quality for point in found.codec("local/packed").points] == [3, 8]
    assert found.codec("local/packed").points[1].psnr == LOSSLESS
    assert found.codec("local/packed").peak_mib is None
    assert any("local/packed" in note and "process of its own" in note for note in found.notes)
    assert found.codec("jpeg").peak_mib
    assert found.codec("jpeg").peak_mib > 5


def module() -> Any:
    """This file as a module, where pytest has not kept it as one."""
    return type("Module", (), {"Packed": Packed})


class Wrong(Packed):
    """Packed, but for what a test puts in."""

    def __init__(self, **methods: Any) -> None:
        vars(self).update(methods)


@pytest.mark.parametrize(
    ("codec", "said"),
    [
        (Wrong(encode=lambda pixels, quality: "text"), "encode gives a str"),
        (Wrong(decode=lambda data: np.zeros((2, 2, 3), np.uint8)), r"decode gives uint8 \(2, 2, 3\)"),
        (Wrong(decode=lambda data: None), "decode gives NoneType"),
        (Wrong(decode=lambda data: {}["none"]), "KeyError: 'none'"),
        (Wrong(estimate=lambda pixels, quality: 1 / 0), "ZeroDivisionError"),
    ],
)
def test_codecs_that_fail_are_named_with_the_picture(photos: Path, codec: PictureCodec, said: str) -> None:
    with pytest.raises(PluginError, match=f"codec wrong fails on a-grey.png at quality 2.*{said}"):
        evaluate({"wrong": codec}, photos, memory=False)


@pytest.mark.parametrize(
    ("codecs", "options", "kind", "said"),
    [
        ([], {}, InputError, "expected one or more"),
        (["jpeg", "jpeg"], {}, InputError, "each once"),
        (["jpg"], {}, UnknownNameError, "did you mean 'jpeg'"),
        (["jpeg"], {"rounds": 0}, InputError, "rounds 0"),
        (["jpeg"], {"points": 0}, InputError, "points 0"),
        (["jpeg"], {"anchor": "jpge"}, UnknownNameError, "unknown anchor 'jpge'"),
        (["jpeg"], {"curves": ["vmt"]}, UnknownNameError, "did you mean 'vtm'"),
        (["jpeg"], {"qualities": {"webp": [1]}}, UnknownNameError, "webp"),
        (["jpeg"], {"qualities": {"jpeg": []}}, InputError, "no quality to measure"),
        (["jpeg"], {"qualities": {"jpeg": [5, 5]}}, InputError, "given twice"),
        (["jpeg"], {"qualities": {"": [101]}}, InputError, "codec jpeg: quality 101: expected 0 to 100"),
        (["none.safetensors"], {}, TinifyError, "no weights file none.safetensors"),
    ],
)
def test_bad_input_is_named_before_anything_is_measured(
    photos: Path, codecs: list[str], options: dict[str, Any], kind: type[TinifyError], said: str
) -> None:
    with pytest.raises(kind, match=said):
        evaluate(codecs, photos, **options)


def test_qualities_that_no_codec_takes_are_refused(photos: Path) -> None:
    class Whole(Packed):
        settings = (None,)  # type: ignore[assignment]
        limits = None  # type: ignore[assignment]

    with pytest.raises(InputError, match="no quality can be set of whole: leave the qualities out"):
        evaluate({"whole": Whole()}, photos, qualities={"": [5]})


def test_folders_without_pictures_are_named(photos: Path, tmp_path: Path) -> None:
    for path, said in (
        (tmp_path, "no pictures in"),
        (tmp_path / "none", "there is no folder"),
        (photos / "notes.txt", "none can be read"),
        (photos / "c-damaged.png", "cut short or damaged"),
    ):
        with pytest.raises(DataError, match=said):
            open_folder(path)
    assert open_folder(photos / "a-grey.png").facts.count == 1


def test_published_curves_are_for_the_pictures_they_are_of(photos: Path, results: Results) -> None:
    found = evaluate(["jpeg"], photos, points=2, rounds=1, memory=False, anchor="vtm", curves=["bpg444", "vtm"])
    assert found.references == ("vtm", "bpg444")
    assert found.bd == ()
    assert any("Kodak" in note for note in found.notes)
    assert found.pictures.digest != KODAK


def test_commands_write_what_they_show(photos: Path, tmp_path: Path) -> None:
    paths = [tmp_path / f"r{suffix}" for suffix in (".json", ".csv", ".md")]
    outputs = [word for path in paths for word in ("--out", path)]
    words = ("--rounds", 1, "--no-memory", *outputs)
    done = run("bench", photos, "-c", "jpeg,webp", "--qualities", "20,80", *words)
    assert done.exit_code == 0, done.output
    found = load(paths[0])
    for codec in found.codecs:
        for point in codec.points:
            assert f"{point.psnr:.2f}" in done.output
            assert f"| {codec.name} | {point.quality:g} | {point.bpp:.4f} |" in paths[2].read_text()
    rows = list(csv.DictReader(io.StringIO(paths[1].read_text())))
    assert len(rows) == 2 * 2 * (1 + 2)
    assert {row["picture"] for row in rows} == {"", *found.pictures.names}
    assert "left out" in done.output
    assert re.search(r"webp +jpeg +PSNR +[+-]\d", done.output)


def test_eval_tells_of_every_picture(photos: Path, checkpoint: Path) -> None:
    done = run("eval", checkpoint, photos, "--rounds", 1, "--no-memory", "--as", "mine")
    assert done.exit_code == 0, done.output
    assert "a-grey.png" in done.output
    assert "mine" in done.output
    printed = run("eval", checkpoint, photos, "--rounds", 1, "--no-memory", "--json")
    assert json.loads(printed.stdout)["codecs"][0]["points"][0]["pictures"][0]["name"] == "a-grey.png"
    assert run("eval", checkpoint, photos, "--rounds", 1, "--no-memory", "-q").output == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--out", "r.txt"), "'.txt' is not written; choose .json, .csv, .md"),
        (("--out", "none/r.json"), "its folder does not exist"),
        (("--qualities", "jpeg=a"), "--qualities jpeg=a: expected numbers"),
        (("--qualities", "jpeg="), "expected numbers"),
        (("--qualities", "nan"), "expected numbers"),
    ],
)
def test_commands_refuse_what_cannot_be_done(photos: Path, words: tuple[str, ...], said: str) -> None:
    with pytest.raises(TinifyError, match=re.escape(said)):
        cli.main(["bench", str(photos), "--codecs", "jpeg", *words], standalone_mode=False)


def test_peak_memory_is_that_of_another_process(photos: Path, checkpoint: Path) -> None:
    picture = photos / "b-colour.png"
    ballast = np.ones(1 << 28, np.uint8)  # 256 MiB here, which must not count
    light, heavy = (peak_memory(*job) for job in (("jpeg", picture, 50), (str(checkpoint), picture, None)))
    assert 5 < light < 200 < heavy < 3000
    assert ballast.all()
    with pytest.raises(InputError, match=r"no peak memory of nothing: .*unknown codec"):
        peak_memory("nothing", picture, 50)


def test_lpips_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(InputError, match="no LPIPS: it needs torchvision"):
        find_lpips()
    for name in ("torchvision", "torchmetrics"):
        monkeypatch.setitem(sys.modules, name, type(sys)(name))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(InputError, match=r"weights of AlexNet are not at .*nothing is fetched"):
        find_lpips()


def test_jpeg_xl_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_jxl", None)
    with pytest.raises(MissingPackageError, match=r"pillow-jxl-plugin.*tinify-codec\[eval\]"):
        open_codec("jpegxl")
