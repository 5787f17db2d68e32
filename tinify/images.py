"""Pictures: the 8-bit pixels and the metadata that a codec sees, read from and written to image files."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from tinify.container import MAX_PIXELS, MAX_SIDE
from tinify.errors import ImageError, InputError, OutputError, TinifyError
from tinify.files import read_bytes, write_atomic
from tinify.samples import array_samples, image_samples, split_alpha

__all__ = [
    "MAX_BYTES",
    "MAX_PIXELS",
    "MAX_SIDE",
    "SUFFIXES",
    "Picture",
    "as_picture",
    "from_array",
    "from_pil",
    "output_format",
    "read_picture",
    "to_pil",
    "write_picture",
]

# Formats that say in their first bytes what they are and are read without outside programs (EPS starts Ghostscript).
_READABLE = ("PNG", "JPEG", "WEBP", "AVIF", "TIFF", "BMP", "DIB", "GIF", "PPM", "JPEG2000", "QOI", "PCX", "SGI")
# Those that other packages bring to Pillow.
_GUESTS = ("HEIF", "JXL")

#: Suffixes of files that are looked for in a folder of pictures.
SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".pgm", ".jp2"}
)

# No format that is read here takes more bytes than 16-bit samples of four channels.
MAX_BYTES = 8 * MAX_PIXELS

_EXIF_PREFIX = b"Exif\0\0"

# The tags that describe a photograph; the others in its first directory describe the file's own storage.
_PHOTO_TAGS = (
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.Orientation,
    ExifTags.Base.Software,
    ExifTags.Base.DateTime,
    ExifTags.Base.Artist,
    ExifTags.Base.Copyright,
    ExifTags.IFD.Exif,
    ExifTags.IFD.GPSInfo,
)


@dataclass(frozen=True, eq=False)
class Picture:
    """What is coded of an image file.

    ``pixels`` is uint8 (height, width, channels), 1 channel (grey) or 3 (RGB); ``alpha`` uint8 (height, width) or None;
    ``icc`` and ``exif`` the metadata blocks as they stand (``exif`` from its byte-order mark on); ``notes`` says what
    was reduced on the way in. Pixels are as stored: an orientation in ``exif`` is not applied.
    """

    pixels: NDArray[np.uint8]
    alpha: NDArray[np.uint8] | None = None
    icc: bytes | None = None
    exif: bytes | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shape = self.pixels.shape
        if self.pixels.dtype != np.uint8 or len(shape) != 3 or shape[2] not in (1, 3):
            raise ImageError(
                f"pixels are {self.pixels.dtype} {shape}: expected uint8 (height, width, 1 or 3); see from_array"
            )
        _check_size(shape[1], shape[0])
        if self.alpha is not None and (self.alpha.dtype != np.uint8 or self.alpha.shape != shape[:2]):
            raise ImageError(
                f"alpha is {self.alpha.dtype} {self.alpha.shape}: expected uint8 {shape[:2]}, the size of the pixels"
            )


def read_picture(source: str | os.PathLike[str] | BinaryIO) -> Picture:
    """The picture in an image file, by path or as an open binary file; the first frame where there are several.

    Raises :class:`ImageError` for what is no image, of no size, larger than the limits, cut short or damaged.

    >>> read_picture(io.BytesIO(b"P5 2 1 255 ab")).pixels.tolist()
    [[[97], [98]]]
    """
    if isinstance(source, (str, os.PathLike)):
        name, stream = str(source), cast(BinaryIO, io.BytesIO(read_bytes(source, MAX_BYTES, ImageError)))
    elif hasattr(source, "read"):
        name, stream = str(getattr(source, "name", "the picture")), source
    else:
        raise InputError(
            f"expected a path or an open binary file, got {type(source).__name__}; for pixels see from_array"
        )
    Image.init()
    formats = [*_READABLE, *(guest for guest in _GUESTS if guest in Image.OPEN)]
    with _decoding(name), Image.open(stream, formats=formats) as image:
        return _picture(image)


def from_pil(image: Image.Image) -> Picture:
    """The picture in a Pillow image of any mode, with the ICC profile and EXIF block of its ``info``.

    >>> from_pil(Image.new("LA", (2, 1), (7, 9))).alpha.tolist()
    [[9, 9]]
    """
    with _decoding("the image"):
        return _picture(image)


def from_array(array: NDArray[Any]) -> Picture:
    """The picture of an array (height, width) or (height, width, 1 to 4): grey, grey and alpha, RGB, or RGB and alpha.

    Samples are uint8, uint16, bool, or floats in [0, 1]. Raises :class:`ImageError` for anything else.

    >>> from_array(np.ones((2, 3))).pixels.shape
    (2, 3, 1)
    """
    array = np.asarray(array)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or not 1 <= array.shape[2] <= 4:
        raise ImageError(
            f"an array of shape {array.shape} is no picture: expected (height, width) or (height, width, 1 to 4)"
        )
    _check_size(array.shape[1], array.shape[0])
    samples, notes = array_samples(array)
    return Picture(*split_alpha(samples), notes=notes)


def as_picture(image: Picture | Image.Image | NDArray[Any]) -> Picture:
    """A picture, a Pillow image or an array as a picture; :class:`InputError` for anything else."""
    if isinstance(image, Picture):
        return image
    if isinstance(image, Image.Image):
        return from_pil(image)
    if isinstance(image, np.ndarray):
        return from_array(image)
    raise InputError(
        f"expected a Pillow image or a numpy array, got {type(image).__name__}; read files with PIL.Image.open"
    )


def to_pil(picture: Picture) -> Image.Image:
    """A Pillow image of mode L, LA, RGB or RGBA; ICC profile and EXIF block are in its ``info``.

    >>> to_pil(Picture(np.zeros((2, 3, 1), np.uint8))).mode
    'L'
    """
    samples = picture.pixels if picture.alpha is None else np.dstack([picture.pixels, picture.alpha])
    image = Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)
    if picture.icc is not None:
        image.info["icc_profile"] = picture.icc
    if picture.exif is not None:
        image.info["exif"] = _EXIF_PREFIX + picture.exif
    return image


@dataclass(frozen=True)
class _Format:
    """How a picture is saved by Pillow, and what such a file can hold."""

    name: str
    options: dict[str, Any]
    alpha: bool = True
    icc: bool = True
    exif: int = 1 << 32  # bytes that fit


_PNG = _Format("PNG", {})
_JPEG = _Format("JPEG", {"quality": 95, "subsampling": 0}, alpha=False, exif=65533 - len(_EXIF_PREFIX))
_WEBP = _Format("WEBP", {"lossless": True, "exact": True})
_TIFF = _Format("TIFF", {})
_BMP = _Format("BMP", {}, alpha=False, icc=False, exif=0)
_PPM = _Format("PPM", {}, alpha=False, icc=False, exif=0)
_FORMATS = {".png": _PNG, ".jpg": _JPEG, ".jpeg": _JPEG, ".webp": _WEBP, ".tif": _TIFF, ".tiff": _TIFF, ".bmp": _BMP}
_FORMATS[".ppm"] = _PPM


def write_picture(picture: Picture, path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Writes an image file of the format that the suffix says, and returns notes of what it could not hold.

    All formats but JPEG (quality 95) are without loss. The file is written whole or not at all. Raises
    :class:`OutputError` for an unknown suffix or where the file cannot be written.

    >>> write_picture(Picture(np.zeros((2, 3, 1), np.uint8)), "a.gif")
    Traceback (most recent call last):
    tinify.errors.OutputError: a.gif: '.gif' is not written; choose .png, .jpg, .jpeg, .webp, .tif, .tiff, .bmp, .ppm
    """
    target = _format(path)
    kept, notes = _fit(picture, target)
    stream = io.BytesIO()
    try:
        to_pil(kept).save(stream, target.name, icc_profile=kept.icc, **_exif_option(kept, target), **target.options)
    except Exception as error:  # an encoder of Pillow's may raise anything
        raise OutputError(
            f"{path}: the picture cannot be written as {target.name}: {error}; choose another, like .png"
        ) from error
    write_atomic(path, stream.getvalue())
    return notes


def output_format(path: str | os.PathLike[str]) -> str:
    """Pillow's name of the format that :func:`write_picture` would write; :class:`OutputError` for an unknown suffix.

    >>> output_format("photo.JPG")
    'JPEG'
    """
    return _format(path).name


def _format(path: str | os.PathLike[str]) -> _Format:
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in _FORMATS:
        raise OutputError(f"{path}: {suffix!r} is not written; choose {', '.join(_FORMATS)}")
    return _FORMATS[suffix]


def _fit(picture: Picture, target: _Format) -> tuple[Picture, tuple[str, ...]]:
    """What of a picture a format can hold, and notes of what it cannot."""
    pixels, alpha, icc, exif, notes = picture.pixels, picture.alpha, picture.icc, picture.exif, []
    if alpha is not None and not target.alpha:
        opacity = alpha[..., None].astype(np.uint32)
        pixels = ((pixels * opacity + 255 * (255 - opacity) + 127) // 255).astype(np.uint8)
        alpha = None
        notes.append(f"{target.name} has no alpha: flattened onto white")
    if icc is not None and not target.icc:
        icc = None
        notes.append(f"{target.name} has no colour profile: dropped")
    if exif is not None and len(exif) > target.exif:
        exif = None
        notes.append(f"{target.name} cannot hold the EXIF block, with its orientation: dropped")
    return Picture(pixels, alpha, icc, exif), tuple(notes)


def _exif_option(picture: Picture, target: _Format) -> dict[str, Any]:
    if picture.exif is None:
        return {}
    if target is not _TIFF:
        return {"exif": _EXIF_PREFIX + picture.exif}
    # In a TIFF file these tags join its own, so that those which tell how another file was stored must stay out.
    return {"exif": _photo_tags(to_pil(picture).getexif()).tobytes()}


_lock = threading.Lock()
_decoders = 0
_pillow_limit: int | None = None


@contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Pillow's own limit lifted for ours, while any thread decodes; what a decoder raises becomes an ImageError."""
    global _decoders, _pillow_limit
    with _lock:
        if _decoders == 0:
            _pillow_limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        _decoders += 1
    try:
        yield
    except TinifyError as error:
        raise type(error)(f"{name}: {error}") from error
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{name} is not a picture that can be read here: expected one of {', '.join(_READABLE)}"
        ) from error
    except Exception as error:  # a decoder of Pillow's may raise anything
        raise ImageError(
            f"{name} cannot be decoded: {error}; it is cut short or damaged, make or fetch it again"
        ) from error
    finally:
        with _lock:
            _decoders -= 1
            if _decoders == 0:
                Image.MAX_IMAGE_PIXELS = _pillow_limit


def _check_size(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise ImageError(f"a picture of {width}x{height} has no pixels: expected at least 1x1")
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise ImageError(
            f"{width}x{height} is over the limits of {MAX_SIDE} a side and {MAX_PIXELS} pixels: scale or cut it first"
        )


def _picture(image: Image.Image) -> Picture:
    _check_size(*image.size)
    frames = ("one frame of several coded",) if getattr(image, "is_animated", False) else ()
    samples, notes = image_samples(image)
    # These are coded as sRGB, which their profile does not describe.
    icc = None if image.mode in ("CMYK", "LAB") else image.info.get("icc_profile")
    return Picture(*split_alpha(samples), icc=icc or None, exif=_exif(image), notes=frames + notes)


def _exif(image: Image.Image) -> bytes | None:
    """The EXIF block as it stands in the file, or one of the tags where a format keeps them elsewhere (TIFF, XMP)."""
    block = image.info.get("exif")
    if not isinstance(block, bytes):
        tags = _photo_tags(image.getexif())
        block = tags.tobytes() if len(tags) else b""
    return block.removeprefix(_EXIF_PREFIX) or None


def _photo_tags(exif: Image.Exif) -> Image.Exif:
    kept = Image.Exif()
    for tag in _PHOTO_TAGS:
        if tag in exif:
            kept[tag] = exif.get_ifd(tag) if isinstance(tag, ExifTags.IFD) else exif[tag]
    return kept
