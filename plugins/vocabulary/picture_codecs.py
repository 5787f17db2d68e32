"""Declarations of the picture codecs that evaluations compare models with."""

from __future__ import annotations

from typing import Annotated, Literal

from tinify.plugin import Range, component


@component("picture_codec", "jpeg", target="tinify.evaluation.pillow:Jpeg")
class Jpeg:
    """JPEG with optimised Huffman tables, by libjpeg-turbo through Pillow; quality 0 to 100."""

    subsampling: Annotated[Literal["4:2:0", "4:4:4"], "chroma at half the size, or at full size"] = "4:2:0"
    progressive: bool = False


@component("picture_codec", "jpeg2000", target="tinify.evaluation.pillow:Jpeg2000")
class Jpeg2000:
    """JPEG 2000 with the colour transform, by OpenJPEG through Pillow; quality is bits per pixel."""

    wavelet: Annotated[Literal["9/7", "5/3"], "5/3 is that of the field's published curve"] = "9/7"


@component("picture_codec", "webp", target="tinify.evaluation.pillow:Webp")
class Webp:
    """Lossy WebP, by libwebp through Pillow; quality 0 to 100."""

    method: Annotated[int, Range(0, 6), "0 is quick, 6 is thorough"] = 4


@component("picture_codec", "avif", target="tinify.evaluation.pillow:Avif")
class Avif:
    """AVIF, by libavif through Pillow; quality 0 to 100."""

    subsampling: Annotated[Literal["4:2:0", "4:4:4"], "chroma at half the size, or at full size"] = "4:2:0"
    speed: Annotated[int, Range(0, 10), "0 is thorough, 10 is quick"] = 6


@component("picture_codec", "jpegxl", target="tinify.evaluation.pillow:JpegXl")
class JpegXl:
    """Lossy JPEG XL, by libjxl through pillow-jxl-plugin (extra ``eval``); quality 0 to 100."""

    effort: Annotated[int, Range(1, 9), "1 is quick, 9 is thorough"] = 7


PICTURE_CODECS = (Jpeg, Jpeg2000, Webp, Avif, JpegXl)
