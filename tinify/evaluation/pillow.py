"""Classic codecs, as Pillow and its plugins have them: JPEG, JPEG 2000, WebP, AVIF, JPEG XL."""

from __future__ import annotations

import importlib
import io
from typing import Any

import numpy as np
from PIL import Image, features

from tinify.errors import InputError, MissingPackageError
from tinify.evaluation.codec import PictureCodec, Pixels


class _PillowCodec(PictureCodec):
    """One of Pillow's formats, with the options that do not depend on quality."""

    limits: tuple[float, float] = (0, 100)

    def __init__(self, form: str, **options: Any) -> None:
        self._form, self._options = form, options

    def encode(self, pixels: Pixels, quality: float | None) -> bytes:
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, self._form, **self._options, **self.option(quality or 0))
        return stream.getvalue()

    def decode(self, data: bytes) -> Pixels:
        with Image.open(io.BytesIO(data), formats=[self._form]) as image:
            return np.asarray(image.convert("RGB"))

    def option(self, quality: float) -> dict[str, Any]:
        """What Pillow is to be told of the quality."""
        return {"quality": _whole(quality)}


class Jpeg(_PillowCodec):
    """Baseline JPEG with optimised Huffman tables."""

    settings = (5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95)
    suffix = ".jpg"

    def __init__(self, subsampling: str = "4:2:0", progressive: bool = False) -> None:
        super().__init__("JPEG", subsampling=subsampling, progressive=progressive, optimize=True)
        self.label = f"JPEG {subsampling}"


class Jpeg2000(_PillowCodec):
    """JPEG 2000 with the colour transform, which Pillow leaves out by itself, at a chosen number of bits per pixel.

    The 9/7 wavelet takes about 20 % less than the 5/3, with which the field's curves were made.
    """

    settings = (0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0)
    limits = (0.01, 24)
    suffix = ".jp2"

    def __init__(self, wavelet: str = "9/7") -> None:
        _need("jpg_2000", "JPEG 2000")
        super().__init__("JPEG2000", quality_mode="rates", irreversible=wavelet == "9/7", mct=1)
        self.label = f"JPEG 2000 {wavelet}"

    def option(self, quality: float) -> dict[str, Any]:
        return {"quality_layers": [24 / quality]}


class Webp(_PillowCodec):
    """Lossy WebP (VP8, 4:2:0)."""

    settings = (1, 5, 10, 20, 30, 45, 60, 75, 85, 90, 95)
    suffix = ".webp"
    label = "WebP"

    def __init__(self, method: int = 4) -> None:
        _need("webp", "WebP")
        super().__init__("WEBP", method=method)


class Avif(_PillowCodec):
    """AVIF (AV1 intra)."""

    settings = (5, 10, 20, 30, 40, 50, 60, 70, 80, 90)
    suffix = ".avif"

    def __init__(self, subsampling: str = "4:2:0", speed: int = 6) -> None:
        _need("avif", "AVIF")
        super().__init__("AVIF", subsampling=subsampling, speed=speed)
        self.label = f"AVIF {subsampling}"


class JpegXl(_PillowCodec):
    """Lossy JPEG XL (VarDCT, XYB)."""

    settings = (5, 15, 30, 45, 60, 70, 80, 90, 95)
    suffix = ".jxl"
    label = "JPEG XL"

    def __init__(self, effort: int = 7) -> None:
        try:
            importlib.import_module("pillow_jxl")  # tells Pillow of the format
        except ImportError as error:
            raise MissingPackageError(
                f"JPEG XL needs the package pillow-jxl-plugin ({error}): pip install 'tinify-codec[eval]', "
                "or leave jpegxl out"
            ) from error
        super().__init__("JXL", effort=effort)


def _need(feature: str, name: str) -> None:
    if not features.check(feature):
        raise MissingPackageError(
            f"this Pillow was built without {name}: install Pillow's own wheel, or leave the codec out"
        )


def _whole(quality: float) -> int:
    if quality != round(quality):
        raise InputError(f"quality {quality:g}: this codec takes whole numbers")
    return round(quality)
