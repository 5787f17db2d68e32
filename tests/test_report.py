"""The report: what it holds is what was measured, no name becomes markup, and bad input is named."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from report_results import codec, results
from test_cli import fail, succeed

from tinify.errors import InputError
from tinify.evaluation.codec import PictureCodec, Pixels, open_codec
from tinify.evaluation.published import KODAK, reference
from tinify.evaluation.report import Panel, Side, embedded, merge, page, panel
from tinify.evaluation.report.gather import BUDGET, Comparison, gather
from tinify.evaluation.report.panels import at_least, middle
from tinify.evaluation.report.tables import Cell, table
from tinify.evaluation.results import Results, save

HOSTILE = [
    "<script>alert(1)</script>",
    "</script><script>x",
    "<!--",
    "a&b\"c'd",
    "]]>",
    "\u2028",
    "$data",
    "<img src=x>",
]


class Reader(HTMLParser):
    """Elements, attributes and texts of a page, as a browser sees them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def one(found: Results, **more: Results) -> str:
    return page(merge({"a.json": found, **more}))


def photo(height: int = 80, width: int = 120, seed: int = 0) -> Pixels:
    """A smooth picture with some grain: sizes rise with the quality, as for photographs."""
    y, x = np.mgrid[:height, :width]
    grain = np.random.default_rng(seed).normal(0, 12, (height, width, 3))
    smooth = 128 + 60 * np.sin(x / 17)[..., None] + 50 * np.cos(y / 11)[..., None]
    return np.clip(smooth + grain, 0, 255).astype(np.uint8)


def write_pictures(folder: Path, count: int, side: int = 96) -> None:
    folder.mkdir(exist_ok=True)
    for k in range(count):
        Image.fromarray(photo(side, side, k)).save(folder / f"{k}.png")


# What the page holds


def test_the_page_holds_what_was_measured() -> None:
    found = results()
    data = embedded(page(merge({"a.json": found}, [reference("vtm")])))
    assert data["codecs"] == json.loads(json.dumps([dataclasses.asdict(c) for c in found.codecs]))
    assert data["bd"] == [dataclasses.asdict(b) for b in found.bd]
    assert [p["bpp"] for p in data["references"][0]["points"]] == list(reference("vtm").bpp)


@given(st.text(), st.text(min_size=1))
def test_any_text_goes_through(label: str, name: str) -> None:
    text = one(results(names=[name], label=label))
    data = embedded(text)
    assert data["codecs"][1]["label"] == label
    assert data["codecs"][0]["points"][0]["pictures"][0]["name"] == name


def test_panels_hold_their_pictures() -> None:
    jpeg = open_codec("jpeg")
    made = panel("p.png", photo(600, 700), 1000, jpeg, 40, [open_codec("webp")], ["J", "W"])
    kept = embedded(page(merge({"a": results()}), [made]))["panels"][0]
    assert (kept["picture"], kept["width"], kept["height"]) == ("p.png", 512, 512)
    shown = [np.asarray(Image.open(io.BytesIO(base64.b64decode(s["data"].partition(",")[2])))) for s in kept["sides"]]
    original, first, _ = shown
    assert np.array_equal(original, photo(600, 700)[44:556, 94:606])
    assert np.array_equal(first, middle(jpeg.decode(jpeg.encode(photo(600, 700), 40))))


def test_the_page_loads_nothing() -> None:
    read = Reader(one(results()))
    assert not {"link", "iframe", "object", "embed"} & set(read.tags)
    assert [value for name, value in read.attributes if name in ("src", "href", "action", "srcset")] == []
    assert not re.search(
        r"url\((?!#)|@import|\bfetch\(|XMLHttpRequest|\bimport\(|innerHTML|document\.write", one(results())
    )


# Names are text


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_becomes_markup(name: str) -> None:
    found = results(names=[name], folder=name, label=name, digest=name)
    machine = dataclasses.replace(found.machine, cpu=name, python=name, torch=name, date=name)
    bad = dataclasses.replace(found.bd[0], anchor=name, metric=name, warning=name)
    notes = dataclasses.replace(found.pictures, skipped=(name,))
    hostile = dataclasses.replace(found, machine=machine, pictures=notes, bd=(bad,), notes=(name,))
    side = Side(name, 10, 1.0, None, b"png")
    panels = [Panel(name, 4, 4, (side, side))]
    plain, text = Reader(page(merge({"a": results()}), panels)), page(merge({name: hostile}), panels, name)
    read = Reader(text)
    assert read.tags.count("script") == plain.tags.count("script") == 2
    assert read.tags.count("img") == plain.tags.count("img")
    assert set(read.tags) <= set(plain.tags)
    assert name in "".join(read.words)
    assert not [key for key, _ in read.attributes if key.startswith("on")]


@given(st.lists(st.text(), min_size=1, max_size=3))
def test_cells_are_escaped(texts: list[str]) -> None:
    html = table([(text, "text") for text in texts], [[Cell(text) for text in texts]])
    assert html.count("<td") + html.count('<th scope="row"') == len(texts)
    assert all(f">{escape(text)}<" in html for text in texts)


def test_only_the_page_s_own_program_may_run() -> None:
    read = Reader(one(results()))
    policy = next(value for name, value in read.attributes if value.startswith("default-src 'none'"))
    assert re.fullmatch(
        r"default-src 'none'; img-src data:; style-src 'sha256-[\w+/=]+'; script-src 'sha256-[\w+/=]+'", policy
    )


# What may be missing


def test_codecs_and_points_may_be_missing() -> None:
    empty = dataclasses.replace(results(), codecs=(), bd=())
    text = one(empty)
    assert "0 codecs on 3 pictures" in text
    assert "no BD-rates" in text
    unmeasured = dataclasses.replace(results(), codecs=(dataclasses.replace(codec("x", "X", 0), points=()),), bd=())
    assert embedded(one(unmeasured))["codecs"][0]["points"] == []


def test_a_page_without_pictures_says_so() -> None:
    text = page(merge({"a": results()}), absent="None & why.")
    assert "None &amp; why." in text
    assert 'id="stage"' not in text


def test_what_is_no_report_is_named() -> None:
    with pytest.raises(InputError, match="no report"):
        embedded("<html></html>")


# Several results


def test_codecs_of_one_name_are_told_apart() -> None:
    merged = merge({"a.json": results(), "b.json": results(digest="other")})
    names = [c.name for c in merged.codecs]
    assert names == ["jpeg (a.json)", "ours (a.json)", "jpeg (b.json)", "ours (b.json)"]
    assert len({c.label for c in merged.codecs}) == 4
    assert [(b.codec, b.anchor) for b in merged.bd] == [(names[1], names[0]), (names[3], names[2])]
    assert "b.json was measured on other pictures than a.json" in merged.notes[0]


def test_published_curves_are_of_kodak() -> None:
    assert "24 Kodak pictures" in merge({"a": results()}, [reference("vtm")]).notes[0]
    assert merge({"a": results(digest=KODAK)}, [reference("vtm")]).notes == ()


# Pictures at equal bytes


class Sized(PictureCodec):
    """As many bytes as its quality says, in fractions."""

    def __init__(self, limits: tuple[float, float] | None, settings: tuple[float, ...] = ()) -> None:
        self.limits, self.settings = limits, settings

    def encode(self, pixels: Pixels, quality: float | None) -> bytes:
        return bytes(round(100 * (quality or 0)))

    def decode(self, data: bytes) -> Pixels:
        return np.zeros((1, 1, 3), np.uint8)


@given(st.integers(0, 1200))
def test_the_nearest_quality_that_is_not_below(size: int) -> None:
    pixels = photo(8, 8)
    _, data = at_least(Sized((1, 10)), pixels, size)
    assert len(data) == 1000 if size > 1000 else 0 <= len(data) - max(size, 100) <= 1
    _, data = at_least(Sized(None, (1, 2, 5)), pixels, size)
    assert len(data) == next((have for have in (100, 200, 500) if have >= size), 500)


@given(st.integers(200, 9000))
def test_jpeg_at_as_many_bytes(size: int) -> None:
    jpeg, pixels = open_codec("jpeg"), photo()
    quality, data = at_least(jpeg, pixels, size)
    assert quality is not None
    assert quality == int(quality)
    assert len(data) >= size or quality == 100
    assert quality == 0 or len(jpeg.encode(pixels, quality - 1)) < size


def test_a_panel_tells_bytes_and_distances_of_the_whole() -> None:
    pixels, jpeg = photo(), open_codec("jpeg")
    original, first, second = panel("p", pixels, 999, jpeg, 50, [open_codec("webp")], ["J", "W"]).sides
    data = jpeg.encode(pixels, 50)
    error = np.mean((pixels - jpeg.decode(data).astype(float)) ** 2)
    assert (original.size, original.psnr, original.bpp) == (999, None, pytest.approx(8 * 999 / 9600))
    assert (first.codec, first.size) == ("J, quality 50", len(data))
    assert first.psnr == pytest.approx(10 * np.log10(255**2 / error))
    assert second.size >= first.size


def test_pictures_are_those_of_the_results(tmp_path: Path) -> None:
    write_pictures(tmp_path / "set", 3)
    write_pictures(tmp_path / "secret", 1)
    found = results(names=["1.png", "../secret/0.png", "absent.png"], folder=str(tmp_path / "set"))
    panels, notes = gather(merge({"a": found}), Comparison(["webp", "jpeg"], 30))
    assert [one.picture for one in panels] == ["1.png"]
    assert notes == []


def test_pictures_are_spread_and_the_unreadable_left_out(tmp_path: Path) -> None:
    write_pictures(tmp_path, 9)
    (tmp_path / "3.png").write_bytes(b"no picture")
    panels, notes = gather(merge({"a": results()}), Comparison(["webp", "jpeg"], 30), tmp_path, 3)
    assert [one.picture for one in panels] == ["0.png", "6.png"]
    assert "3.png" in notes[0]


def test_a_page_stays_small(tmp_path: Path) -> None:
    write_pictures(tmp_path, 6, side=700)
    panels, notes = gather(merge({"a": results()}), Comparison(["webp", "jpeg"], 80), tmp_path, 6)
    assert 1 <= len(panels) < 6
    assert f"{len(panels)} of 6 pictures" in notes[0]
    assert sum(len(side.png) for one in panels for side in one.sides) <= BUDGET
    assert len(page(merge({"a": results()}), panels)) < 8_000_000


def test_codecs_that_cannot_be_opened_leave_the_comparer_out(tmp_path: Path) -> None:
    write_pictures(tmp_path, 1)
    panels, notes = gather(merge({"a": results()}), None, tmp_path)
    assert panels == []
    assert "unknown codec 'ours'" in notes[0]


# The command


def test_the_command_writes_a_page(tmp_path: Path) -> None:
    write_pictures(tmp_path / "set", 2)
    save(results(folder=str(tmp_path / "set")), tmp_path / "r.json")
    arguments = (
        "report",
        "r.json",
        "--pictures",
        "set",
        "--compare",
        "webp,jpeg",
        "--quality",
        30,
        "--reference",
        "vtm",
    )
    said = json.loads(succeed(*arguments, "--json", cwd=tmp_path))
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert said["bytes"] == len(text.encode())
    assert (said["codecs"], said["pictures"]) == (2, 2)
    assert [one["name"] for one in embedded(text)["references"]] == ["vtm"]
    assert succeed("report", "r.json", "--count", 0, "-q", cwd=tmp_path) == ""
    assert embedded((tmp_path / "report.html").read_text(encoding="utf-8"))["panels"] == []


def test_the_page_about_reports_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("report.html").write_text(one(results()), encoding="utf-8")
    text = (Path(__file__).parents[1] / "docs" / "report.md").read_text(encoding="utf-8")
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(block, "report.md", "exec"), {})
    assert capsys.readouterr().out.startswith("JPEG 4:2:0 [(0.3, 30")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is not JSON"),
        (b"\xff\xfe\xfd", "is not JSON"),
        (b"[1]", "no results of tinify"),
        (b'{"tinify_results": 9}', "format 9"),
        (b'{"tinify_results": 1, "codecs": []}', "has no 'machine'"),
        (b"", "is empty"),
    ],
)
def test_unreadable_results_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "r.json").write_bytes(content)
    said = fail("report", "r.json", cwd=tmp_path)
    assert message in said
    assert "r.json" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("absent.json",), "absent.json does not exist"),
        (("r.json", "--out", "no/such/r.html"), "its folder does not exist"),
        (("r.json", "--out", "r.json"), "is an input"),
        (("r.json", "--out", "r.pdf"), "such as r.html"),
        (("r.json", "--pictures", "absent"), "--pictures absent"),
        (("r.json", "--reference", "vmt"), "did you mean 'vtm'"),
        (("r.json", "--pictures", "set", "--compare", "jpgg"), "did you mean 'jpeg'"),
        (("r.json", "--pictures", "set", "--compare", ","), "--compare"),
        (("r.json", "--pictures", "set", "--compare", "jpeg,webp", "--quality", "101"), "quality 101"),
        (("r.json", "--quality", "3"), "--compare"),
        ((), "RESULTS.json"),
    ],
)
def test_bad_arguments_are_named(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    write_pictures(tmp_path / "set", 1)
    save(results(), tmp_path / "r.json")
    assert message in fail("report", *arguments, cwd=tmp_path)
    assert not list(tmp_path.glob("*.html"))
