"""Clips in files and folders, raw video, sequences for training, and the distances between clips."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_clips import clip, saved
from tinify_plugins.video.clips import open_clip, open_sink
from tinify_plugins.video.metrics import rgb_to_yuv420, yuv_psnr
from tinify_plugins.video.raw import RawVideoSequence, VideoFormat, get_num_frms, get_raw_video_file_info

from tinify.datasets import VideoFolder  # type: ignore[attr-defined]
from tinify.errors import (
    DataError,
    FileError,
    InputError,
    OutputError,
)


def test_a_folder_of_frames_comes_back(tmp_path: Path) -> None:
    frames = clip(3)
    source = open_clip(saved(tmp_path / "in", frames), Fraction(30000, 1001))
    assert (source.width, source.height, source.rate) == (60, 40, Fraction(30000, 1001))
    sink = open_sink(tmp_path / "out", 60, 40, source.rate)
    for frame in source.frames:
        sink.write(frame)
    sink.close()
    again = list(open_clip(tmp_path / "out").frames)
    assert all(np.array_equal(a, b) for a, b in zip(frames, again, strict=True))
    with pytest.raises(OutputError, match="is not empty"):
        open_sink(tmp_path / "out", 60, 40, Fraction(25))


def test_clips_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="does not exist"):
        open_clip(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="has no pictures"):
        open_clip(tmp_path / "empty")
    mixed = saved(tmp_path / "mixed", [*clip(2), *clip(1, 20)])
    with pytest.raises(InputError, match=r"frame 2 of .* is 60x20, the first is 60x40"):
        list(open_clip(mixed).frames)
    with pytest.raises(OutputError, match="does not end in"):
        open_sink(tmp_path / "out.avi", 4, 4, Fraction(25))


@pytest.mark.parametrize("suffix", [".y4m", ".mp4", ".yuv"])
@pytest.mark.parametrize("size", [(40, 60), (41, 59)])
def test_video_files_come_back_near(tmp_path: Path, suffix: str, size: tuple[int, int]) -> None:
    pytest.importorskip("av")
    frames = [np.full((*size, 3), 40 * k + 20, np.uint8) for k in range(4)]
    form = "P420" if size[0] % 2 == 0 else "P444"
    path = tmp_path / f"clip_{size[1]}x{size[0]}_30Hz_8bit_{form}{suffix}"
    sink = open_sink(path, size[1], size[0], Fraction(30))
    assert not path.exists()  # until it is whole
    for frame in frames:
        sink.write(frame)
    sink.close()
    source = open_clip(path)
    assert (source.width, source.height, source.rate) == (size[1], size[0], 30)
    again = list(source.frames)
    assert len(again) == 4
    assert max(int(np.abs(a.astype(int) - b).max()) for a, b in zip(frames, again, strict=True)) <= 4
    assert sorted(file.name for file in tmp_path.iterdir()) == [path.name]


def test_a_file_that_is_no_video_is_named(tmp_path: Path) -> None:
    pytest.importorskip("av")
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(FileError, match="cannot be read as video"):
        open_clip(tmp_path / "text.mp4")


@given(st.sampled_from(VideoFormat), st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.sampled_from([8, 10]))
def test_raw_sequences_are_their_planes(
    tmp_path_factory: pytest.TempPathFactory, form: VideoFormat, width: int, height: int, count: int, depth: int
) -> None:
    path = tmp_path_factory.mktemp("raw") / "clip.yuv"
    rng, dtype = np.random.default_rng(0), np.dtype("u1" if depth == 8 else "<u2")
    frames = [[rng.integers(0, 2**depth, shape).astype(dtype) for shape in form.planes(width, height)]] * count
    path.write_bytes(b"".join(plane.tobytes() for frame in frames for plane in frame))
    sequence = RawVideoSequence.from_file(str(path), width, height, depth, form, 30)
    assert len(sequence) == count == get_num_frms(path.stat().st_size, width, height, form, dtype)
    for found, frame in zip(sequence, frames, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(found, frame, strict=True))
    again = RawVideoSequence.new_like(sequence, str(path))
    assert np.array_equal(again[-1][0], sequence[count - 1][0])
    assert len(again[:2]) == min(2, count)
    with pytest.raises(IndexError):
        sequence[count]
    path.write_bytes(path.read_bytes() + b"\0" * (1 if depth == 8 else 2))
    if path.stat().st_size % (sequence._samples * dtype.itemsize):
        with pytest.raises(FileError, match="cut short"):
            RawVideoSequence.new_like(sequence, str(path))


def test_names_of_raw_files_say_their_format() -> None:
    assert get_raw_video_file_info("C_RaceHorses_2frames_832x480_30Hz_8bit_P420.yuv") == {
        "width": 832,
        "height": 480,
        "framerate": 30,
        "bitdepth": 8,
        "format": VideoFormat.YUV420,
    }
    assert get_raw_video_file_info("plain.yuv") == {}
    with pytest.raises(InputError, match="width and height are neither given nor in its name"):
        RawVideoSequence.from_file("plain.yuv")


def test_folders_of_sequences(tmp_path: Path) -> None:
    (tmp_path / "sequences").mkdir()
    saved(tmp_path / "sequences" / "a", clip(5))
    (tmp_path / "train.list").write_text("a\n\n")

    def transform(frames: Any) -> torch.Tensor:
        assert frames.shape == (40, 60, 9)
        return torch.from_numpy(frames).permute(2, 0, 1)

    first, second, third = VideoFolder(tmp_path, transform=transform)[0]
    assert first.shape == second.shape == third.shape == (3, 40, 60)
    seen = set()
    for _ in range(40):
        one, _, two = VideoFolder(tmp_path, rnd_interval=True, rnd_temp_order=True, transform=transform)[0]
        seen.add((int(one.sum()) > int(two.sum()), len(torch.unique(one - two))))
    assert len(seen) > 2
    with pytest.raises(RuntimeError, match="needs a transform"):
        VideoFolder(tmp_path)[0]
    for text, match in (("b\n", "has 0 pictures"), ("\n", "names no sequences")):
        (tmp_path / "train.list").write_text(text)
        with pytest.raises(DataError, match=match):
            VideoFolder(tmp_path)


# Distances.


def test_planes_are_those_of_the_transforms() -> None:
    from tinify.transforms.functional import rgb2ycbcr, yuv_444_to_420

    frame = clip(1)[0]
    x = torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255
    expected = yuv_444_to_420(rgb2ycbcr(x))
    for plane, wanted in zip(rgb_to_yuv420(frame), expected, strict=True):
        assert np.abs(plane - (255 * wanted[0, 0]).numpy()).max() <= 1.01
    assert [plane.shape for plane in rgb_to_yuv420(clip(1, 5, 7)[0])] == [(5, 7), (3, 4), (3, 4)]


def test_psnr_of_planes() -> None:
    planes = rgb_to_yuv420(clip(1)[0])
    off = tuple(
        np.clip(plane.astype(int) + k, 0, 255).astype(np.uint8) for k, plane in zip((1, 2, 4), planes, strict=True)
    )
    found = yuv_psnr(planes, off)
    assert found["y"] == pytest.approx(20 * np.log10(255 / 1), abs=0.2)
    assert found["yuv"] == pytest.approx((6 * found["y"] + found["u"] + found["v"]) / 8)
    assert yuv_psnr(planes, planes)["yuv"] == float("inf")
    assert yuv_psnr(planes[:1], planes[:1]).keys() == {"y"}
    with pytest.raises(InputError, match="of the same sizes"):
        yuv_psnr(planes, planes[:2])
    with pytest.raises(InputError, match="expected uint8"):
        rgb_to_yuv420(np.zeros((4, 4), np.uint8))
