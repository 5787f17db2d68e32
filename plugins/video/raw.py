"""Raw video: planes of luma and chroma in a file without a header, whose format stands in its name."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from tinify.errors import FileError, InputError

Planes = tuple[NDArray[Any], ...]


class VideoFormat(enum.Enum):
    """How chroma is sampled; the values are FFmpeg's names."""

    YUV400 = "gray"
    YUV420 = "yuv420p"
    YUV422 = "yuv422p"
    YUV444 = "yuv444p"
    RGB = "gbrp"

    def planes(self, width: int, height: int) -> tuple[tuple[int, int], ...]:
        """Height and width of every plane; odd sides are rounded up."""
        half = (height + 1) // 2, (width + 1) // 2
        chroma = {
            VideoFormat.YUV400: (),
            VideoFormat.YUV420: (half, half),
            VideoFormat.YUV422: ((height, half[1]), (height, half[1])),
        }.get(self, ((height, width), (height, width)))
        return ((height, width), *chroma)


_FORMATS = {
    "P400": VideoFormat.YUV400, "P420": VideoFormat.YUV420, "P422": VideoFormat.YUV422, "P444": VideoFormat.YUV444,
    "400": VideoFormat.YUV400, "420": VideoFormat.YUV420, "422": VideoFormat.YUV422, "444": VideoFormat.YUV444,
    "RGB": VideoFormat.RGB,
}  # fmt: skip


def get_raw_video_file_info(filename: str) -> dict[str, Any]:
    """What a name says: any of ``width``, ``height``, ``framerate``, ``bitdepth`` and ``format``.

    >>> get_raw_video_file_info("RaceHorses_832x480_30Hz_8bit_P420.yuv")["width"]
    832
    """
    name = Path(filename).stem
    found: dict[str, Any] = {}
    patterns = {
        "size": r"(?:^|_)(\d+)x(\d+)(?=_|$)",
        "framerate": r"(?:^|_)(\d+)(?:Hz|fps)(?=_|$)",
        "bitdepth": r"(?:^|_)(\d+)bits?(?=_|$)",
        "format": r"(?:^|_)(?:yuv)?(P?4[0-4][0-4]|RGB)p?(?=_|$)",
    }
    for key, pattern in patterns.items():
        match = re.search(pattern, name, re.IGNORECASE)
        if match and key == "size":
            found |= {"width": int(match[1]), "height": int(match[2])}
        elif match:
            found[key] = _FORMATS[match[1].upper()] if key == "format" else int(match[1])
    return found


def get_num_frms(file_size: int, width: int, height: int, video_format: VideoFormat, dtype: Any) -> int:
    """How many whole frames a file of that many bytes has."""
    samples = sum(rows * columns for rows, columns in video_format.planes(width, height))
    return int(file_size // (samples * np.dtype(dtype).itemsize))


class RawVideoSequence(Sequence[Planes]):
    """The frames of a raw file, read when asked for: ``sequence[i]`` is a tuple of planes, (height, width) each.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     name = f"{folder}/grey_4x2_25Hz_8bit_P420.yuv"
    ...     _ = Path(name).write_bytes(bytes(3 * (8 + 2 + 2)))
    ...     sequence = RawVideoSequence.from_file(name)
    ...     len(sequence), [plane.shape for plane in sequence[0]]
    (3, [(2, 4), (1, 2), (1, 2)])
    """

    def __init__(
        self, mmap: NDArray[Any], width: int, height: int, bitdepth: int, format: VideoFormat, framerate: int
    ) -> None:
        self.width, self.height, self.bitdepth = width, height, bitdepth
        self.format, self.framerate = format, framerate
        self._shapes = format.planes(width, height)
        self._samples = sum(rows * columns for rows, columns in self._shapes)
        self._data = mmap

    @classmethod
    def from_file(
        cls,
        filename: str,
        width: int | None = None,
        height: int | None = None,
        bitdepth: int | None = None,
        format: VideoFormat | None = None,
        framerate: int | None = None,
    ) -> RawVideoSequence:
        """The sequence in a file; what is not given is read from its name, which need not say 8 bit, 4:2:0 and 25 Hz.

        Raises :class:`~tinify.errors.InputError` for a size that neither says, FileError for a file that is missing,
        empty, or not of whole frames.
        """
        given = {"width": width, "height": height, "bitdepth": bitdepth, "format": format, "framerate": framerate}
        told: dict[str, Any] = {"bitdepth": 8, "format": VideoFormat.YUV420, "framerate": 25} | get_raw_video_file_info(
            filename
        )
        told |= {key: value for key, value in given.items() if value is not None}
        missing = [key for key in ("width", "height") if not told.get(key)]
        if missing:
            raise InputError(
                f"{filename}: {' and '.join(missing)} are neither given nor in its name; call it NAME_WIDTHxHEIGHT_25Hz"
                "_8bit_P420.yuv"
            )
        if not 8 <= told["bitdepth"] <= 16:
            raise InputError(f"{filename}: a bit depth of {told['bitdepth']}; expected 8 to 16")
        dtype = np.dtype("u1" if told["bitdepth"] == 8 else "<u2")
        path = Path(filename)
        if not path.is_file() or not path.stat().st_size:
            raise FileError(f"{path} does not exist, or is empty: check the path")
        frame = sum(rows * columns for rows, columns in told["format"].planes(told["width"], told["height"]))
        if path.stat().st_size % (frame * dtype.itemsize):
            raise FileError(
                f"{path} has {path.stat().st_size} bytes, and a frame {frame * dtype.itemsize}: it is cut short, or "
                "its name says another format"
            )
        return cls(np.memmap(path, dtype, "r"), **told)

    @classmethod
    def new_like(cls, sequence: RawVideoSequence, filename: str) -> RawVideoSequence:
        """The sequence in another file of the same format."""
        names = ("width", "height", "bitdepth", "format", "framerate")
        return cls.from_file(filename, **{name: getattr(sequence, name) for name in names})

    def close(self) -> None:
        """Lets go of the file."""
        self._data = np.empty(0, self._data.dtype)

    def __len__(self) -> int:
        return self._data.size // self._samples

    @overload
    def __getitem__(self, index: int) -> Planes: ...
    @overload
    def __getitem__(self, index: slice) -> list[Planes]: ...
    def __getitem__(self, index: int | slice) -> Planes | list[Planes]:
        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"frame {index} of {len(self)}")
        at = index % len(self) * self._samples
        planes = []
        for rows, columns in self._shapes:
            planes.append(self._data[at : at + rows * columns].reshape(rows, columns))
            at += rows * columns
        return tuple(planes)

    def __iter__(self) -> Iterator[Planes]:
        return (self[k] for k in range(len(self)))
