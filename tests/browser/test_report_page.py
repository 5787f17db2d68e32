"""The report in a headless Chromium: it draws, answers to mouse, finger and keys, and has no error."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from chromium import Page, browser
from report_results import results

from tinify.evaluation.codec import PictureCodec, Pixels
from tinify.evaluation.published import reference
from tinify.evaluation.report import merge, page, panel
from tinify.evaluation.results import BdResult

HOSTILE = "<script>document.title = 'caught'</script>"
SELECT = "document.querySelector('#%s-chart .tip')"
WIDE, PHONE = (1200, 900), (390, 800)


class Flat(PictureCodec):
    """Codings of one colour, which a screenshot tells apart."""

    def __init__(self, level: int) -> None:
        self._level = level

    def encode(self, pixels: Pixels, quality: float | None) -> bytes:
        return bytes(100 + self._level)

    def decode(self, data: bytes) -> Pixels:
        return np.full((400, 500, 3), self._level, np.uint8)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Page]:
    with browser() as one:
        yield one


@pytest.fixture
def report(chromium: Page, tmp_path: Path) -> Page:
    """A page of two codecs, one published curve and two pictures, newly opened."""
    original = np.full((400, 500, 3), 128, np.uint8)
    codecs, labels = (Flat(20), Flat(230)), ("Dark", "Light")
    names = (f"{HOSTILE}.png", "second.png")
    panels = [panel(name, original, 999, codecs[0], None, codecs[1:], labels) for name in names]
    found = results(names=[HOSTILE, "b.png", "c.png"], label=HOSTILE)
    (tmp_path / "r.html").write_text(page(merge({"r": found}, [reference("vtm")]), panels), encoding="utf-8")
    return opened(chromium, tmp_path / "r.html")


def opened(chromium: Page, path: Path) -> Page:
    chromium.errors.clear()
    chromium.requests.clear()
    chromium.open(path.as_uri())
    chromium.media(*WIDE)
    chromium.wait("document.documentElement.dataset.ready === 'yes'")
    return chromium


def shade(report: Page, share: float, tmp_path: Path) -> float:
    """The mean level of the comparer's picture at a share of its width."""
    from PIL import Image

    x, y, width, height = report.box("#scroller")
    report.screenshot(tmp_path / "shot.png")
    with Image.open(tmp_path / "shot.png") as image:
        return float(np.mean(image.convert("L").getpixel((x + share * width, y + height * 0.2))))


def slider(report: Page) -> float:
    return float(report.js("document.getElementById('slider').value"))


def tip(report: Page, chart: str = "rate") -> str:
    """What a chart says of the point that is pointed at; empty where nothing is shown."""
    return str(report.js(f"(({{hidden, innerText}}) => hidden ? '' : innerText)({SELECT % chart})"))


def curves(report: Page) -> int:
    return int(report.js("document.querySelectorAll('#rate-chart .curve').length"))


def test_it_draws_without_errors_and_loads_nothing(report: Page) -> None:
    assert curves(report) == 3
    assert report.js("document.querySelectorAll('#rate-chart .curve.reference').length") == 1
    assert report.js("document.querySelectorAll('#speed-chart .mark').length") == 2
    assert report.errors == []
    assert [url for url in report.requests if not url.endswith("/r.html")] == []


def test_an_error_would_be_seen(report: Page) -> None:
    report.js("setTimeout(() => { throw new Error('planted'); })")
    report.js("new Promise((done) => setTimeout(done, 20))")
    assert "planted" in report.errors[0]


def test_no_name_runs(report: Page) -> None:
    assert report.js("document.title") == "2 codecs on 3 pictures"
    assert HOSTILE in report.js("document.getElementById('legend').innerText")
    assert HOSTILE in report.js("document.getElementById('compare-picture').innerText")
    assert HOSTILE in report.js("document.querySelector('tbody').innerText")
    assert report.js("document.scripts.length") == 2


def test_what_was_slipped_in_does_not_run(chromium: Page, tmp_path: Path) -> None:
    text = page(merge({"r": results()})).replace("<main>", "<main><script>document.title = 'caught'</script>")
    (tmp_path / "r.html").write_text(text.replace("<footer>", "<footer><img src=x onerror='document.title=1'>"))
    report = opened(chromium, tmp_path / "r.html")
    assert report.js("document.title") == "2 codecs on 3 pictures"
    assert any("Content Security Policy" in error for error in report.errors)


def test_pointing_at_a_point_tells_its_figures(report: Page) -> None:
    for index in range(4):
        x, y, width, height = report.box(f"#rate-chart .mark:nth-of-type({index + 1})")
        report.hover(x + width / 2, y + height / 2)
        said = tip(report)
        assert re.search(r"quality \d\n[\d.]+ bpp\nPSNR [\d.]+ dB\nMS-SSIM .*\nencode .* ms\ndecode .* ms", said)
    report.hover(5, 5)
    assert tip(report) == ""


def test_arrow_keys_go_from_point_to_point(report: Page) -> None:
    report.js("document.getElementById('rate-chart').focus()")
    seen = []
    for _ in range(4):
        report.key("ArrowRight")
        seen.append(tip(report))
    assert [re.findall(r"quality (\d)", one) for one in seen] == [["1"], ["2"], ["3"], ["4"]]
    report.key("ArrowDown")
    assert tip(report).startswith(HOSTILE)
    report.key("Escape")
    assert tip(report) == ""


def test_a_finger_shows_a_point_and_leaves_it(report: Page) -> None:
    report.media(*PHONE, touch=True)
    x, y, width, height = report.box("#rate-chart .mark")
    report.touch((x + width / 2, y + height / 2))
    assert "bpp" in tip(report)


def test_legend_and_buttons(report: Page) -> None:
    report.click("#legend button:nth-child(2)")
    assert curves(report) == 2
    assert report.js("document.querySelectorAll('#speed-chart .mark').length") == 1
    report.click("#legend button:nth-child(2)")
    assert curves(report) == 3
    for index, label in enumerate(("PSNR RGB", "PSNR YUV", "MS-SSIM")):
        report.click(f"#metric button:nth-child({index + 1})")
        assert label in report.js("document.querySelector('#rate-chart svg').textContent")
    report.click("#log-rate")
    choose(report, "curve-picture", "b.png")
    assert curves(report) == 2  # published curves are means
    for cost in ("encode_s", "kmac"):
        choose(report, "speed-x", cost)
        for wanted in ("0", "psnr", "ms_ssim"):
            choose(report, "speed-y", wanted)
    assert report.errors == []


def test_what_a_chart_lacks_is_said(report: Page) -> None:
    said = "document.getElementById('speed-absent').innerText"
    choose(report, "speed-y", "psnr")
    assert report.js(said) == ""
    choose(report, "speed-x", "kmac")
    assert report.js(said) == "Without these figures: JPEG 4:2:0."


def choose(report: Page, select: str, value: str) -> None:
    at = f"document.getElementById('{select}')"
    report.js(f"({at}.value = '{value}', {at}.dispatchEvent(new Event('change')), 0)")


def test_tables_sort_both_ways_with_gaps_last(report: Page) -> None:
    column = "[...document.querySelectorAll('table')[0].tBodies[0].rows].map((row) => row.cells[1].textContent)"
    for order in ("ascending", "descending"):
        report.click("table thead th:nth-child(2) button")
        assert report.js("document.querySelectorAll('th')[1].getAttribute('aria-sort')") == order
        assert report.js(column)[-1] == "–"
    names = "[...document.querySelectorAll('table')[0].tBodies[0].rows].map((row) => row.cells[0].textContent)"
    report.js("document.querySelector('thead button').focus()")
    report.key("Enter")
    first = report.js(names)
    report.key("Enter")
    assert report.js(names) == first[::-1]


def test_the_slider_by_mouse(report: Page, tmp_path: Path) -> None:
    for share in (0.25, 0.75):
        x, y, width, height = report.box("#scroller")
        at = x + width * slider(report) / 100
        report.mouse("press", at, y + height / 2)
        report.mouse("move", x + share * width, y + height / 2)
        report.mouse("release", x + share * width, y + height / 2)
        assert slider(report) == pytest.approx(100 * share, abs=0.5)
        assert shade(report, share - 0.1, tmp_path) == pytest.approx(20, abs=1)
        assert shade(report, share + 0.1, tmp_path) == pytest.approx(230, abs=1)


def test_the_slider_goes_where_the_picture_is_pressed(report: Page) -> None:
    x, y, width, height = report.box("#scroller")
    for share in (0.9, 0.1):
        report.mouse("press", x + share * width, y + height / 3)
        report.mouse("release", x + share * width, y + height / 3)
        assert slider(report) == pytest.approx(100 * share, abs=0.5)


def test_the_slider_by_finger(report: Page, tmp_path: Path) -> None:
    report.media(*PHONE, touch=True)
    x, y, width, height = report.box("#scroller")
    middle = y + height / 2
    report.touch((x + width / 2, middle), (x + width * 0.4, middle), (x + width * 0.2, middle))
    assert slider(report) == pytest.approx(20, abs=1)
    assert shade(report, 0.3, tmp_path) == pytest.approx(230, abs=1)


def test_the_slider_by_keys(report: Page, tmp_path: Path) -> None:
    report.js("document.getElementById('slider').focus()")
    report.key("ArrowRight", 20)
    assert slider(report) == 60
    report.key("ArrowLeft", 40)
    assert slider(report) == 40
    assert shade(report, 0.35, tmp_path) == pytest.approx(20, abs=1)
    assert shade(report, 0.45, tmp_path) == pytest.approx(230, abs=1)


def test_zoom_keeps_the_sides(report: Page, tmp_path: Path) -> None:
    report.click("#zoom button:nth-child(3)")
    assert report.js("document.getElementById('layers').clientWidth") == 2000
    report.js("document.getElementById('scroller').scrollLeft = 777")
    for share, level in ((0.45, 20), (0.55, 230)):
        assert shade(report, share, tmp_path) == pytest.approx(level, abs=1)
    x, y, width, height = report.box("#divider")
    report.mouse("press", x + width / 2, y + height / 2)
    report.mouse("move", x + width / 2 - 200, y + height / 2)
    report.mouse("release", x + width / 2 - 200, y + height / 2)
    assert shade(report, 0.35, tmp_path) == pytest.approx(230, abs=1)


def test_sides_and_pictures_are_chosen(report: Page, tmp_path: Path) -> None:
    choose(report, "compare-left", "0")
    assert shade(report, 0.3, tmp_path) == pytest.approx(128, abs=1)
    assert "999 bytes, 0.040 bpp" in report.js("document.getElementById('left-caption').innerText")
    choose(report, "compare-picture", "1")
    assert report.js("document.getElementById('left-image').alt") == "second.png, original"
    captions = report.js("document.querySelector('.captions').innerText")
    assert "lossless" in captions
    assert "330 bytes" in captions
    assert "67.0 % fewer bytes than the other" in captions


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_nothing_is_wider_than_the_window(report: Page, size: tuple[int, int], scheme: str) -> None:
    report.media(*size, scheme)
    report.wait(f"document.documentElement.clientWidth === {size[0]}")
    assert report.js("document.documentElement.scrollWidth") == size[0]
    dark = report.js("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 26)"
    assert dark == (scheme == "dark")
    assert report.errors == []


def test_all_that_answers_is_reached_by_tab(report: Page) -> None:
    report.js("document.body.focus()")
    reached = set()
    for _ in range(80):
        report.key("Tab")
        reached.add(report.js("document.activeElement.id || document.activeElement.parentElement.id"))
    wanted = {"metric", "curve-picture", "log-rate", "rate-chart", "legend", "speed-x", "speed-y", "speed-chart"}
    assert reached >= wanted | {"compare-picture", "compare-left", "compare-right", "zoom", "scroller", "slider"}


def test_results_of_nothing_are_drawn(chromium: Page, tmp_path: Path) -> None:
    bare = dataclasses.replace(results(), codecs=(), bd=())
    lone = dataclasses.replace(
        results(), codecs=(dataclasses.replace(results().codecs[0], points=results().codecs[0].points[:1]),)
    )
    failed = dataclasses.replace(results(), bd=(BdResult("ours", "jpeg", "psnr", None, None, 0.0, "no overlap"),))
    for name, found in {"bare": bare, "lone": lone, "failed": failed}.items():
        (tmp_path / f"{name}.html").write_text(page(merge({"r": found})), encoding="utf-8")
        report = opened(chromium, tmp_path / f"{name}.html")
        assert report.errors == []
        drawn = report.js("document.querySelector('#rate-chart svg').textContent")
        assert ("nothing to show" in drawn) == (name == "bare")
        assert "NaN" not in report.js("document.querySelector('main').innerHTML")
