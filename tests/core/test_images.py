"""Pictures come in from every mode and file format, and go out again, with nothing lost unsaid."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from picture_files import png, saved
from PIL import ExifTags, Image, ImageCms

from tinify.images import Picture, from_array, from_pil, read_picture, to_pil, write_picture

LOSSLESS = [".png", ".webp", ".tif", ".tiff", ".bmp", ".ppm"]
WITH_ALPHA = [".png", ".webp", ".tif", ".tiff"]
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def exif_block() -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Make] = "Camera"
    exif[ExifTags.IFD.Exif] = {ExifTags.Base.DateTimeOriginal: "2020:01:02 03:04:05"}
    return exif.tobytes().removeprefix(b"Exif\0\0")


EXIF = exif_block()


@st.composite
def pictures(draw: st.DrawFn) -> Picture:
    height, width = draw(st.integers(1, 20)), draw(st.integers(1, 20))
    pixels = draw(arrays(np.uint8, (height, width, draw(st.sampled_from([1, 3])))))
    alpha = draw(st.none() | arrays(np.uint8, (height, width)))
    return Picture(pixels, alpha, draw(st.none() | st.just(ICC)), draw(st.none() | st.just(EXIF)))


def same(a: Picture, b: Picture) -> bool:
    def blank(plane: Any) -> Any:
        return b"" if plane is None else plane

    return (
        np.array_equal(a.pixels, b.pixels)
        and np.array_equal(blank(a.alpha), blank(b.alpha))
        and (a.icc, a.exif) == (b.icc, b.exif)
    )


@given(pictures())
def test_pillow_and_back(picture: Picture) -> None:
    image = to_pil(picture)
    assert image.mode == {1: "L", 3: "RGB"}[picture.pixels.shape[2]] + ("" if picture.alpha is None else "A")
    assert same(from_pil(image), picture)


@given(pictures())
def test_an_array_and_back(picture: Picture) -> None:
    samples = np.asarray(to_pil(picture))
    again = from_array(samples)
    assert np.array_equal(np.asarray(to_pil(again)), samples)
    assert not again.notes


@given(pictures())
def test_a_png_holds_a_whole_picture(tmp_path_factory: pytest.TempPathFactory, picture: Picture) -> None:
    path = tmp_path_factory.mktemp("png") / "picture.png"
    assert write_picture(picture, path) == ()
    assert same(read_picture(path), picture)


@pytest.mark.parametrize("suffix", LOSSLESS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("with_alpha", [False, True])
def test_a_written_file_has_the_pixels(tmp_path: Path, suffix: str, channels: int, with_alpha: bool) -> None:
    random = np.random.default_rng(1)
    pixels = random.integers(0, 256, (5, 7, channels), dtype=np.uint8)
    alpha = random.integers(0, 256, (5, 7), dtype=np.uint8) if with_alpha else None
    notes = write_picture(Picture(pixels, alpha), tmp_path / f"picture{suffix}")
    read = read_picture(tmp_path / f"picture{suffix}")
    shown = np.broadcast_to(pixels, read.pixels.shape)
    if alpha is not None and suffix not in WITH_ALPHA:
        assert any("white" in note for note in notes)
        exact = shown * (alpha[..., None] / 255) + 255 - alpha[..., None].astype(float)
        assert np.abs(read.pixels - exact).max() <= 0.5 + 1e-9
    else:
        assert not notes
        assert np.array_equal(read.pixels, shown)
        assert (read.alpha is None) == (alpha is None)
        assert np.array_equal(read.alpha, alpha) if alpha is not None else read.alpha is None


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".JPG"])
def test_a_jpeg_is_near_and_has_no_alpha(tmp_path: Path, suffix: str) -> None:
    pixels = np.full((16, 16, 3), 100, np.uint8)
    notes = write_picture(Picture(pixels, np.full((16, 16), 128, np.uint8)), tmp_path / f"a{suffix}")
    assert notes == ("JPEG has no alpha: flattened onto white",)
    assert np.abs(read_picture(tmp_path / f"a{suffix}").pixels.astype(int) - 177).max() <= 2


@pytest.mark.parametrize("suffix", [".png", ".webp", ".jpg"])
def test_metadata_is_kept_to_the_byte(tmp_path: Path, suffix: str) -> None:
    pixels = np.zeros((3, 5, 3), np.uint8)
    assert write_picture(Picture(pixels, icc=ICC, exif=EXIF), tmp_path / f"a{suffix}") == ()
    again = read_picture(tmp_path / f"a{suffix}")
    assert (again.icc, again.exif) == (ICC, EXIF)
    assert again.pixels.shape == (3, 5, 3)
    with Image.open(tmp_path / f"a{suffix}") as image:
        assert image.getexif()[ExifTags.Base.Orientation] == 6


def test_tiff_keeps_the_tags_of_a_photograph(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.load(EXIF)
    exif[ExifTags.Base.ImageWidth] = 4000
    exif[ExifTags.Base.Compression] = 6
    block = exif.tobytes()
    pixels = np.arange(45, dtype=np.uint8).reshape(3, 5, 3)
    write_picture(Picture(pixels, icc=ICC, exif=block.removeprefix(b"Exif\0\0")), tmp_path / "a.tif")
    with Image.open(tmp_path / "a.tif") as image:
        assert image.size == (3, 5)
        assert image.getexif()[ExifTags.Base.Orientation] == 6
    # Pillow itself turns a TIFF upright when it loads it.
    again = read_picture(tmp_path / "a.tif")
    assert np.array_equal(again.pixels, np.rot90(pixels, -1))
    assert again.icc == ICC
    assert again.exif is not None
    tags = Image.Exif()
    tags.load(again.exif)
    assert tags[ExifTags.Base.Make] == "Camera"
    assert tags.get(ExifTags.Base.Orientation, 1) == 1
    assert tags.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] == "2020:01:02 03:04:05"


@pytest.mark.parametrize("suffix", [".bmp", ".ppm"])
def test_what_a_format_drops_is_said(tmp_path: Path, suffix: str) -> None:
    notes = write_picture(Picture(np.zeros((2, 2, 3), np.uint8), icc=ICC, exif=EXIF), tmp_path / f"a{suffix}")
    assert len(notes) == 2
    assert all("dropped" in note for note in notes)


def test_an_exif_block_too_long_for_jpeg_is_dropped(tmp_path: Path) -> None:
    notes = write_picture(Picture(np.zeros((2, 2, 3), np.uint8), exif=EXIF + bytes(65536)), tmp_path / "a.jpg")
    assert notes == ("JPEG cannot hold the EXIF block, with its orientation: dropped",)


# Every mode of Pillow, and the one in which it comes back.
MODES = {
    "1": "L",
    "L": "L",
    "LA": "LA",
    "La": "LA",
    "P": "RGB",
    "PA": "RGBA",
    "RGB": "RGB",
    "RGBA": "RGBA",
    "RGBa": "RGBA",
    "RGBX": "RGB",
    "CMYK": "RGB",
    "YCbCr": "RGB",
    "LAB": "RGB",
    "HSV": "RGB",
    "I;16": "L",
    "I;16B": "L",
    "I;16L": "L",
    "I;16N": "L",
    "I": "L",
    "F": "L",
}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_of_pillow(mode: str) -> None:
    picture = from_pil(Image.new(mode, (4, 3)))
    assert picture.pixels.shape[:2] == (3, 4)
    assert to_pil(picture).mode == MODES[mode]
    assert bool(picture.notes) == (mode[0] in "IF" or mode in ("CMYK", "LAB"))


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I"])
@pytest.mark.parametrize(("value", "coded"), [(0, 0), (128, 0), (129, 1), (32768, 128), (65535, 255), (65406, 254)])
def test_16_bit_grey_is_rounded(mode: str, value: int, coded: int) -> None:
    picture = from_pil(Image.new(mode, (2, 2), value))
    assert set(picture.pixels.ravel()) == {coded}
    assert picture.notes == ("16-bit samples coded at 8-bit precision",)


@given(arrays(np.uint16, (3, 4, 3)))
def test_16_bit_arrays_are_rounded(samples: np.ndarray[Any, Any]) -> None:
    for array in (samples, samples.astype(">u2")):
        picture = from_array(array)
        assert np.abs(picture.pixels - samples / 257).max() <= 0.5
        assert picture.notes == ("16-bit samples coded at 8-bit precision",)


@given(arrays(np.float32, (3, 4), elements=st.floats(0, 1, width=32)), st.sampled_from(["f2", "f4", "f8"]))
def test_float_arrays_are_rounded(samples: np.ndarray[Any, Any], kind: str) -> None:
    picture = from_array(samples.astype(kind))
    assert np.abs(picture.pixels[..., 0] - 255.0 * samples).max() <= (0.51 if kind != "f2" else 0.7)
    assert picture.notes == ("floating-point samples coded at 8-bit precision",)


@pytest.mark.parametrize(("kind", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_16_bit_png_files_are_noted(kind: int, channels: int) -> None:
    raw = b"\0" + b"\xab\xcd" * 2 * channels
    picture = read_picture(io.BytesIO(png(2, 1, 16, kind, raw)))
    assert picture.notes == ("16-bit samples coded at 8-bit precision",)
    assert set(picture.pixels.ravel()) <= {0xAB, 0xAC}
    assert (picture.alpha is None) == (channels % 2 == 1)


def test_16_bit_ppm_files_are_noted() -> None:
    for data in (b"P6 2 1 65535\n" + b"\xab\xcd" * 6, b"P5 2 1 1023\n" + b"\2\xb0" * 2):
        picture = read_picture(io.BytesIO(data))
        assert picture.notes == ("16-bit samples coded at 8-bit precision",)
        assert set(picture.pixels.ravel()) == {0xAB}


def test_16_bit_tiff_files_are_noted() -> None:
    stream = saved(Image.fromarray(np.full((2, 3), 0xABCD, np.uint16)), "TIFF")
    picture = read_picture(stream)
    assert picture.notes == ("16-bit samples coded at 8-bit precision",)
    assert set(picture.pixels.ravel()) == {0xAB}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (png(2, 1, 8, 0, b"\0\7\11", (b"tRNS", b"\0\7")), [[7, 9], [0, 255]]),
        (png(2, 1, 16, 0, b"\0\7\7\11\11", (b"tRNS", b"\7\7")), [[7, 9], [0, 255]]),
        (png(2, 1, 1, 0, b"\0\x40", (b"tRNS", b"\0\1")), [[0, 255], [255, 0]]),
    ],
)
def test_a_transparent_grey_becomes_alpha(data: bytes, expected: list[list[int]]) -> None:
    picture = read_picture(io.BytesIO(data))
    assert picture.alpha is not None
    assert [picture.pixels.ravel().tolist(), picture.alpha.ravel().tolist()] == expected


def test_a_transparent_colour_becomes_alpha() -> None:
    data = png(2, 1, 8, 2, b"\0\1\2\3\4\5\6", (b"tRNS", b"\0\1\0\2\0\3"))
    picture = read_picture(io.BytesIO(data))
    assert picture.alpha is not None
    assert picture.alpha.tolist() == [[0, 255]]
    palette = png(3, 1, 8, 3, b"\0\0\1\2", (b"PLTE", bytes(range(9))), (b"tRNS", b"\x00\x80"))
    picture = read_picture(io.BytesIO(palette))
    assert picture.alpha is not None
    assert picture.alpha.tolist() == [[0, 128, 255]]
    assert picture.pixels.ravel().tolist() == list(range(9))


def test_cmyk_goes_to_srgb_and_loses_its_profile() -> None:
    image = Image.new("CMYK", (8, 8), (0, 0, 0, 0))
    for options in ({}, {"icc_profile": b"damaged" * 40}, {"icc_profile": ICC}):
        picture = read_picture(saved(image, "JPEG", **options))
        assert picture.icc is None
        assert picture.notes == ("CMYK coded as sRGB",)
        assert picture.pixels.min() > 250


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_frame_of_several(form: str) -> None:
    frames = [Image.new("RGB", (4, 3), color) for color in ("red", "blue")]
    stream = saved(frames[0], form, save_all=True, append_images=frames[1:])
    picture = read_picture(stream)
    assert picture.notes == ("one frame of several coded",)
    assert np.abs(picture.pixels[0, 0].astype(int) - (255, 0, 0)).max() <= 3


def test_orientation_that_only_xmp_tells_is_kept() -> None:
    image = Image.new("RGB", (3, 2))
    image.info["xmp"] = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6"/></x:xmpmeta>'
    picture = from_pil(image)
    assert picture.exif is not None
    assert to_pil(picture).getexif()[ExifTags.Base.Orientation] == 6
