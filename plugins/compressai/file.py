"""The file of CompressAI's codec script: a header without magic or checksum, then strings with their lengths."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from tinify.errors import CorruptFileError, InputError, TruncatedFileError, VersionError

#: The models that such a file may name, by number, as release 1.2 counts them; they code their latent with one shape.
MODELS = (
    "bmshj2018-factorized",
    "bmshj2018-factorized-relu",
    "bmshj2018-hyperprior",
    "mbt2018-mean",
    "mbt2018",
    "cheng2020-anchor",
    "cheng2020-attn",
)
METRICS = ("mse", "ms-ssim")
#: A picture is coded whole, so that its size is what decoding takes in memory.
MAX_PIXELS, MAX_SIDE = 2**25, 65535

_HEADER, _BODY, _LENGTH = struct.Struct(">2B2IB"), struct.Struct(">3I"), struct.Struct(">I")
# Pictures are padded to multiples of this on all sides.
PADDING = 64


@dataclass(frozen=True)
class CompressaiFile:
    """What such a file holds: ``model`` and ``quality`` (from 1) name weights, ``shape`` is that of the coded latent.

    Raises :class:`~tinify.errors.InputError` for values that a file cannot hold, or no picture has.
    """

    model: str
    metric: str
    quality: int
    height: int
    width: int
    shape: tuple[int, int]
    strings: tuple[bytes, ...]

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise InputError(f"CompressAI's codec writes no files of {self.model}: expected one of {', '.join(MODELS)}")
        if self.metric not in METRICS or not 1 <= self.quality <= 16:
            raise InputError(f"metric {self.metric!r}, quality {self.quality}: expected mse or ms-ssim, and 1 to 16")
        sides = (self.height, self.width)
        if min(sides) < 1 or max(sides) > MAX_SIDE or self.height * self.width > MAX_PIXELS:
            raise InputError(f"a picture of {self.width}x{self.height}: expected up to {MAX_PIXELS} pixels in all")
        stride = stride_of(self.model)
        for side, coded in zip(sides, self.shape, strict=True):
            if not side <= coded * stride < side + PADDING:
                height, width = self.shape
                raise InputError(f"a latent of {width}x{height} for a picture of {self.width}x{self.height}")


def stride_of(model: str) -> int:
    """How many pixels a side of the coded latent's elements cover."""
    return 16 if "factorized" in model else 64


def write(file: CompressaiFile) -> bytes:
    """The file's bytes, which CompressAI's codec script decodes; :func:`read` gives an equal value back.

    >>> file = CompressaiFile("mbt2018-mean", "mse", 3, 50, 70, (1, 2), (b"some", b"strings"))
    >>> len(write(file)), read(write(file)) == file
    (42, True)
    """
    flags = METRICS.index(file.metric) << 4 | file.quality - 1
    head = _HEADER.pack(MODELS.index(file.model), flags, file.height, file.width, 8)
    strings = (_LENGTH.pack(len(string)) + string for string in file.strings)
    return b"".join([head, _BODY.pack(*file.shape, len(file.strings)), *strings])


def read(data: bytes) -> CompressaiFile:
    """What is in a file's bytes; every number is checked against the file before it is used.

    Raises a :class:`~tinify.errors.FileError`: TruncatedFileError, CorruptFileError, VersionError.
    """
    (number, flags, height, width, depth), place = _take(_HEADER, data, 0, "header")
    if number >= len(MODELS):
        raise VersionError(
            f"this file names CompressAI's model {number}: it is a video, of a model of variable rate, or none of "
            f"CompressAI's codec; pictures of models 0 to {len(MODELS) - 1} can be read, {', '.join(MODELS)}"
        )
    if depth != 8:
        raise VersionError(f"this file has bit depth {depth}, or is none of CompressAI's codec: 8 can be read")
    (*shape, count), place = _take(_BODY, data, place, "sizes of the latent")
    wanted = 1 if stride_of(MODELS[number]) == 16 else 2
    if count != wanted:
        raise CorruptFileError(
            f"this file has {count} strings where {MODELS[number]} has {wanted}: it is damaged, a video, "
            "or none of CompressAI's codec"
        )
    strings = []
    for index in range(count):
        (length,), place = _take(_LENGTH, data, place, f"length of string {index}")
        if length > len(data) - place:
            missing = length - len(data) + place
            raise TruncatedFileError(f"string {index} ends {missing} bytes after the file: fetch or make it again")
        strings.append(data[place : place + length])
        place += length
    if place != len(data):
        raise CorruptFileError(f"{len(data) - place} bytes follow the last string: damaged, or a video")
    metric, quality = flags >> 4, (flags & 15) + 1
    if metric >= len(METRICS):
        raise CorruptFileError(f"this file names metric {metric}: it is damaged, or none of CompressAI's codec")
    try:
        return CompressaiFile(
            MODELS[number], METRICS[metric], quality, height, width, (shape[0], shape[1]), tuple(strings)
        )
    except InputError as error:
        raise CorruptFileError(f"this file is damaged, or none of CompressAI's codec: {error}") from error


def _take(form: struct.Struct, data: bytes, place: int, what: str) -> tuple[tuple[int, ...], int]:
    if len(data) - place < form.size:
        raise TruncatedFileError(f"the file ends in its {what}: fetch or make it again")
    return form.unpack_from(data, place), place + form.size
