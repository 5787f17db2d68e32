"""Clips in and out of files: frames one at a time, as RGB arrays, by PyAV or as pictures in a folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tinify.errors import FileError, InputError, MissingPackageError, OutputError
from tinify.images import read_picture

from .raw import RawVideoSequence

Pixels = NDArray[np.uint8]
"""A frame: (height, width, 3)."""

_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm")


@dataclass(frozen=True)
class Source:
    """A clip to be read: its size, frames a second, and its frames, once."""

    width: int
    height: int
    rate: Fraction
    frames: Iterator[Pixels]


class Sink(Protocol):
    """A clip being written."""

    def write(self, frame: Pixels) -> None:
        """Takes the next frame."""

    def close(self) -> None:
        """Ends the clip."""


def open_clip(path: Path, rate: Fraction | None = None) -> Source:
    """The clip in a folder of pictures (in the order of their names), a ``.yuv`` with its format in its name, or a file
    that FFmpeg reads.

    ``rate`` is for folders and raw files, which do not say it; 25 where neither does. Raises
    :class:`~tinify.errors.FileError` for what cannot be read, InputError for no frames, or frames of several sizes.
    """
    if not path.exists():
        raise FileError(f"{path} does not exist: check the path")
    found = _folder(path, rate) if path.is_dir() else _raw(path, rate) if path.suffix == ".yuv" else _file(path)
    return Source(found.width, found.height, found.rate, _alike(found, path))


def _alike(source: Source, path: Path) -> Iterator[Pixels]:
    for number, frame in enumerate(source.frames):
        if frame.shape != (source.height, source.width, 3):
            height, width, _ = frame.shape
            raise InputError(
                f"frame {number} of {path} is {width}x{height}, the first is {source.width}x{source.height}: "
                "a clip has frames of one size"
            )
        yield frame


def _folder(path: Path, rate: Fraction | None) -> Source:
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in _PICTURES)
    if not files:
        raise InputError(f"{path} has no pictures: expected frames as {', '.join(_PICTURES)}")

    def read(file: Path) -> Pixels:
        pixels = read_picture(file).pixels
        return pixels if pixels.shape[2] == 3 else np.repeat(pixels, 3, 2)

    height, width, _ = read(files[0]).shape
    return Source(width, height, rate or Fraction(25), map(read, files))


def _raw(path: Path, rate: Fraction | None) -> Source:
    sequence = RawVideoSequence.from_file(str(path))
    av = _av()

    def convert(planes: Any) -> Pixels:
        deep = sequence.bitdepth > 8
        form = f"{sequence.format.value}{f'{sequence.bitdepth}le' if deep else ''}"
        frame = av.VideoFrame(sequence.width, sequence.height, form)
        for there, plane in zip(frame.planes, planes, strict=True):
            rows = np.ascontiguousarray(plane).view(np.uint8)
            padded = np.zeros((len(rows), there.line_size), np.uint8)
            padded[:, : rows.shape[1]] = rows
            there.update(padded)
        rgb: Pixels = frame.to_ndarray(format="rgb24")
        return rgb

    return Source(sequence.width, sequence.height, rate or Fraction(sequence.framerate), map(convert, sequence))


def _file(path: Path) -> Source:
    av = _av()
    try:
        container = av.open(str(path))
    except (av.FFmpegError, ValueError) as error:
        raise FileError(f"{path} cannot be read as video: {error}") from error
    if not container.streams.video:
        container.close()
        raise FileError(f"{path} has no video in it")
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    rate = Fraction(stream.average_rate or stream.guessed_rate or 25)

    def read() -> Iterator[Pixels]:
        try:
            with container:
                for frame in container.decode(stream):
                    yield frame.to_ndarray(format="rgb24")
        except av.FFmpegError as error:
            raise FileError(f"{path} is damaged: {error}") from error

    frames = read()
    first = next(frames, None)
    if first is None:
        raise InputError(f"{path} has no frames")

    def whole() -> Iterator[Pixels]:
        yield first
        yield from frames

    height, width, _ = first.shape
    return Source(width, height, rate, whole())


def open_sink(path: Path, width: int, height: int, rate: Fraction) -> Sink:
    """Where a clip is to be written: a folder of PNG files for a name without a suffix, ``.yuv``, ``.y4m``, ``.mp4``.

    A file is written under another name, and has its own when the sink is closed. ``.yuv`` and ``.y4m`` have chroma
    at half the size where both sides are even, else at the full one; ``.mp4`` is H.264 of high quality.
    """
    if path.suffix == "":
        return _Folder(path)
    if path.suffix not in (".yuv", ".y4m", ".mp4"):
        raise OutputError(f"{path} does not end in .y4m, .yuv or .mp4, and is no folder: name one of these")
    return _Encoded(path, width, height, rate)


class _Folder:
    def __init__(self, path: Path) -> None:
        self._path, self._count = path, 0
        try:
            path.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot make the folder {path}: {error.strerror}") from error
        if any(path.iterdir()):
            raise OutputError(f"{path} is not empty: name another folder")

    def write(self, frame: Pixels) -> None:
        from PIL import Image

        try:
            Image.fromarray(frame).save(self._path / f"{self._count:06d}.png")
        except OSError as error:
            raise OutputError(f"cannot write to {self._path}: {error.strerror or error}") from error
        self._count += 1

    def close(self) -> None:
        """Every frame is whole already."""


class _Encoded:
    def __init__(self, path: Path, width: int, height: int, rate: Fraction) -> None:
        av = _av()
        self._path, self._part = path, path.with_name(f".tinify-{path.name}.part")
        even = width % 2 == 0 and height % 2 == 0
        plain, form = path.suffix != ".mp4", "yuv420p" if even else "yuv444p"
        kinds = {".yuv": "rawvideo", ".y4m": "yuv4mpegpipe", ".mp4": "mp4"}
        self._error = av.FFmpegError
        try:
            self._container = av.open(str(self._part), "w", format=kinds[path.suffix])
            options = {} if plain else {"crf": "12", "preset": "fast"}
            codec = {".yuv": "rawvideo", ".y4m": "wrapped_avframe", ".mp4": "libx264"}[path.suffix]
            self._stream = self._container.add_stream(codec, rate=rate, options=options)
        except (av.FFmpegError, ValueError, OSError) as error:
            raise OutputError(f"cannot write {path}: {error}") from error
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, form
        self._frame_of = av.VideoFrame.from_ndarray

    def write(self, frame: Pixels) -> None:
        try:
            made = self._frame_of(frame, format="rgb24").reformat(format=self._stream.pix_fmt)
            for packet in self._stream.encode(made):
                self._container.mux(packet)
        except (self._error, OSError) as error:
            self._discard()
            raise OutputError(f"cannot write {self._path}: {error}") from error

    def close(self) -> None:
        try:
            for packet in self._stream.encode():
                self._container.mux(packet)
            self._container.close()
            self._part.replace(self._path)
        except (self._error, OSError) as error:
            self._discard()
            raise OutputError(f"cannot write {self._path}: {error}") from error

    def _discard(self) -> None:
        with contextlib.suppress(Exception):
            self._container.close()
        with contextlib.suppress(OSError):
            self._part.unlink()


def _av() -> Any:
    try:
        import av
        import av.error
    except ImportError as error:
        raise MissingPackageError(
            "video files take PyAV: pip install 'tinify-codec[video]'; a folder of pictures needs nothing"
        ) from error
    return av
