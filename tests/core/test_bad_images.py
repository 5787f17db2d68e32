"""What is no picture, is damaged, or is over the limits: refused by name, before it costs memory."""

from __future__ import annotations

import contextlib
import io
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from picture_files import png, saved
from PIL import Image

from tinify.errors import ImageError, InputError, OutputError
from tinify.images import MAX_PIXELS, MAX_SIDE, Picture, from_array, from_pil, read_picture, write_picture


@pytest.mark.parametrize(
    ("width", "height"), [(MAX_SIDE + 1, 1), (1, 70_000), (20_000, 20_000), (2**31 - 1, 2**31 - 1)]
)
def test_a_picture_over_the_limits_is_refused_unread(width: int, height: int) -> None:
    with pytest.raises(ImageError, match=f"{MAX_PIXELS} pixels"):
        read_picture(io.BytesIO(png(width, height, 8, 2, b"")))


def test_a_picture_over_pillows_limit_is_read_and_the_limit_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    stream = saved(Image.new("L", (30, 30)), "PNG")
    threads = [threading.Thread(target=lambda: read_picture(io.BytesIO(stream.getvalue()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read_picture(saved(Image.new("L", (30, 30)), "TIFF")).pixels.shape == (30, 30, 1)
    assert Image.MAX_IMAGE_PIXELS == 10


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM"])
def test_a_cut_file_is_refused_or_whole(form: str) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    data = saved(Image.fromarray(pixels), form).getvalue()
    whole = read_picture(io.BytesIO(data)).pixels
    for length in [*range(0, len(data) // 2, max(1, len(data) // 40)), len(data) // 2]:
        with pytest.raises(ImageError):
            read_picture(io.BytesIO(data[:length]))
    for length in range(len(data) - 40, len(data)):
        with contextlib.suppress(ImageError):
            assert np.array_equal(read_picture(io.BytesIO(data[:length])).pixels, whole)


@given(st.sampled_from(["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"]), st.integers(0, 10**6), st.integers(1, 255))
def test_damage_gives_a_picture_or_its_own_error(form: str, position: int, change: int) -> None:
    data = bytearray(saved(Image.new("RGB", (9, 7), "teal"), form).getvalue())
    data[position % len(data)] ^= change
    with contextlib.suppress(ImageError):
        assert read_picture(io.BytesIO(bytes(data))).pixels.dtype == np.uint8


def test_files_that_are_no_pictures(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("this is no picture")
    (tmp_path / "empty.png").touch()
    for path, words in [
        (tmp_path / "text.png", "not a picture.*expected"),
        (tmp_path / "empty.png", "is empty"),
        (tmp_path / "none.png", "does not exist"),
        (tmp_path, "is a folder"),
    ]:
        with pytest.raises(ImageError, match=words):
            read_picture(path)
    with pytest.raises(InputError, match="path or an open binary file"):
        read_picture(np.zeros((2, 2)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 0), np.uint8),
        np.zeros((3, 4, 5), np.uint8),
        np.zeros((1, 3, 4, 3), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((3, 4), np.int64),
        np.zeros((3, 4), complex),
        np.zeros((3, 4), object),
        np.full((3, 4), np.nan),
        np.full((3, 4), np.inf),
        np.full((3, 4), 1.01),
        np.full((3, 4), -0.01),
        np.zeros((1, MAX_SIDE + 1), np.uint8),
    ],
)
def test_arrays_that_are_no_pictures(array: np.ndarray[Any, Any]) -> None:
    with pytest.raises(ImageError):
        from_array(array)


@pytest.mark.parametrize(
    "image", [Image.new("I", (2, 2), -1), Image.new("I", (2, 2), 70_000), Image.new("F", (2, 2), 7.5)]
)
def test_samples_of_no_known_range_are_refused(image: Image.Image) -> None:
    with pytest.raises(ImageError, match="scale"):
        from_pil(image)


def test_images_of_no_size_are_refused() -> None:
    with pytest.raises(ImageError, match="no pixels"):
        from_pil(Image.new("RGB", (0, 5)))


@pytest.mark.parametrize(
    ("pixels", "alpha"),
    [
        (np.zeros((2, 3), np.uint8), None),
        (np.zeros((2, 3, 2), np.uint8), None),
        (np.zeros((2, 3, 3), np.float32), None),
        (np.zeros((2, 3, 3), np.uint8), np.zeros((3, 2), np.uint8)),
        (np.zeros((2, 3, 3), np.uint8), np.zeros((2, 3), bool)),
    ],
)
def test_pictures_of_a_wrong_shape_are_refused(pixels: Any, alpha: Any) -> None:
    with pytest.raises(ImageError, match="expected uint8"):
        Picture(pixels, alpha)


def test_pictures_that_cannot_be_written(tmp_path: Path) -> None:
    picture = Picture(np.zeros((2, 2, 3), np.uint8))
    for name, words in [("a.xyz", "'.xyz' is not written; choose .png"), ("a", "'' is not written")]:
        with pytest.raises(OutputError, match=words):
            write_picture(picture, tmp_path / name)
    with pytest.raises(OutputError, match="does not exist"):
        write_picture(picture, tmp_path / "none" / "a.png")
    with pytest.raises(OutputError, match=r"WEBP.*choose another"):
        write_picture(Picture(np.zeros((1, 16384, 1), np.uint8)), tmp_path / "a.webp")
    assert not list(tmp_path.iterdir())
