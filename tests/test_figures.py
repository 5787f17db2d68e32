"""Figures: files of the format that was asked for, with every curve in them; what cannot be drawn is named."""

from __future__ import annotations

import itertools
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

from tinify.cli import cli
from tinify.cli.plot import plot_command
from tinify.errors import InputError, MissingPackageError, OutputError, TinifyError
from tinify.evaluation import figures
from tinify.evaluation.figures import AXES, METRICS, draw
from tinify.evaluation.published import KODAK
from tinify.evaluation.results import BdResult, CodecResult, Machine, PictureSet, Point, Results, save


def codec(name: str, lift: float, **facts: float) -> CodecResult:
    points = tuple(
        Point(q, 0.1 * q, 28.0 + 2 * q + lift, 30.0 + q, 0.9 + q / 50, 0.01 * q, 0.02, lpips=0.5 / q) for q in (1, 2, 4)
    )
    return CodecResult(name, name.upper(), points, **facts)


RESULTS = Results(
    Machine("cpu", 2, 1, "3.11", None, "2030-01-01"),
    PictureSet("kodak", 24, KODAK, ("a.png",), ((3, 2),)),
    (codec("ours", 1, kmac_per_pixel=20.0), codec("theirs", 0)),
    bd=(BdResult("theirs", "ours", "psnr_yuv", 3.0, None, 1.0), BdResult("theirs", "ours", "psnr", 12.0, None, 1.0)),
    references=("vtm",),
)
OTHERS = replace(RESULTS, pictures=replace(RESULTS.pictures, digest="other", count=3, folder="my/photos"))


def texts(path: Path) -> str:
    """What an SVG says: matplotlib keeps each text as a comment beside its outlines."""
    return " ".join(re.findall(r"<!-- (.*?) -->", path.read_text()))


@pytest.mark.parametrize(("metric", "axis"), sorted({*itertools.product(METRICS, AXES)} - {("rate", "bpp")}))
def test_every_codec_is_in_every_figure(metric: str, axis: str, tmp_path: Path) -> None:
    path = tmp_path / "rd.svg"
    draw([RESULTS], path, metric=metric, axis=axis)
    said = texts(path)
    assert "OURS" in said
    assert ("THEIRS" in said) == (axis != "kmac")
    assert ("VTM" in said) == (axis == "bpp" and metric in ("psnr", "ms-ssim"))
    assert AXES[axis] in said
    assert METRICS[metric] in said
    assert "Kodak" in said


def test_a_codecs_delta_is_one_point(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    drawn: list[Any] = []
    figure = figures._figure

    def spy(lines: Any, *rest: Any) -> Any:
        drawn.extend(lines)
        return figure(lines, *rest)

    monkeypatch.setattr(figures, "_figure", spy)
    draw([RESULTS], tmp_path / "rd.svg", metric="rate", axis="decode-time")
    assert [(line.label, line.xs, line.ys) for line in drawn] == [
        ("OURS, the anchor", (pytest.approx(0.02),), (0.0,)),
        ("THEIRS", (pytest.approx(0.02),), (12.0,)),
    ]


def test_the_command_offers_every_figure() -> None:
    offered = {option.name: option.type for option in plot_command.params}
    assert (tuple(offered["metric"].choices), tuple(offered["axis"].choices)) == (tuple(METRICS), tuple(AXES))


def test_results_of_the_same_pictures_share_a_figure(tmp_path: Path) -> None:
    more = replace(RESULTS, codecs=(codec("third", 2),))
    draw([RESULTS, more], tmp_path / "rd.svg", curves=("bpg444", "av1"), title="mine")
    assert all(word in texts(tmp_path / "rd.svg") for word in ("OURS", "THIRD", "BPG 4:4:4", "AV1", "mine"))
    assert "VTM" not in texts(tmp_path / "rd.svg")


def test_published_curves_stay_with_their_pictures(tmp_path: Path) -> None:
    draw([OTHERS], tmp_path / "rd.svg")
    assert "VTM" not in texts(tmp_path / "rd.svg")
    assert "photos, means of 3 pictures" in texts(tmp_path / "rd.svg")
    with pytest.raises(InputError, match="of the 24 Kodak pictures"):
        draw([OTHERS], tmp_path / "rd.svg", curves=("vtm",))
    with pytest.raises(InputError, match="of different pictures"):
        draw([RESULTS, OTHERS], tmp_path / "rd.svg")


def test_the_command_draws(tmp_path: Path) -> None:
    save(RESULTS, tmp_path / "r.json")
    done = CliRunner().invoke(cli, ["plot", str(tmp_path / "r.json"), "-o", str(tmp_path / "rd.png"), "--x", "kmac"])
    assert done.exit_code == 0, done.output
    with Image.open(tmp_path / "rd.png") as image:
        assert image.width > 800
    for words, kind, said in (
        (["-o", str(tmp_path / "rd.gif")], OutputError, "choose .png, .svg, .pdf"),
        (["-o", str(tmp_path / "none" / "rd.png")], OutputError, "does not exist"),
        (["-o", str(tmp_path / "rd.png"), "--reference", "vmt"], TinifyError, "did you mean 'vtm'"),
    ):
        with pytest.raises(kind, match=said):
            cli.main(["plot", str(tmp_path / "r.json"), *words], standalone_mode=False)


def test_what_cannot_be_drawn_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = replace(RESULTS, codecs=(codec("theirs", 0),))
    with pytest.raises(InputError, match="no codec in these results has psnr over kmac"):
        draw([bare], tmp_path / "rd.png", axis="kmac")
    with pytest.raises(InputError, match="choose another axis"):
        draw([RESULTS], tmp_path / "rd.png", metric="rate")
    with pytest.raises(InputError, match="has rate over decode-time"):
        draw([replace(RESULTS, bd=())], tmp_path / "rd.png", metric="rate", axis="decode-time")
    with pytest.raises(InputError, match="expected one of psnr"):
        draw([bare], tmp_path / "rd.png", metric="ssim")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingPackageError, match=r"tinify-codec\[eval\]"):
        draw([bare], tmp_path / "rd.png")
