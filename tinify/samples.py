"""8-bit samples of images and arrays of any kind, with notes of what that reduces."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from tinify.errors import ImageError

Samples = NDArray[np.uint8]
Notes = tuple[str, ...]

_DEEP = "16-bit samples coded at 8-bit precision"
_FLOAT = "floating-point samples coded at 8-bit precision"


def array_samples(array: NDArray[Any]) -> tuple[Samples, Notes]:
    """An array of any shape as uint8, rounded to nearest; :class:`ImageError` for samples of no known range.

    >>> array_samples(np.array([0.0, 0.5, 1.0]))[0].tolist()
    [0, 128, 255]
    """
    if array.dtype == np.uint8:
        return array, ()
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255), ()
    if array.dtype.kind == "u" and array.dtype.itemsize == 2:
        return ((array.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8), (_DEEP,)
    if array.dtype.kind != "f":
        raise ImageError(f"samples are {array.dtype}: expected uint8, uint16 or floats in [0, 1]; convert them first")
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= 1):
        wanted = "finite floats in [0, 1]; scale or np.clip them first"
        raise ImageError(f"samples run from {low:g} to {high:g}: expected {wanted}")
    return np.round(array * 255).astype(np.uint8), (_FLOAT,)


def image_samples(image: Image.Image) -> tuple[Samples, Notes]:
    """The samples (height, width, channels) of a Pillow image of any mode: grey, grey and alpha, RGB, RGB and alpha.

    >>> image_samples(Image.new("I;16", (2, 1), 65535))
    (array([[[255],
            [255]]], dtype=uint8), ('16-bit samples coded at 8-bit precision',))
    """
    # Of 16-bit RGB Pillow makes 8-bit samples without a word; what a file is can be seen only before it is loaded.
    notes = (_DEEP,) if _is_deep(image) else ()
    image.load()
    if image.mode.startswith(("I", "F")):
        return _grey_samples(image)
    if image.mode == "CMYK":
        image, notes = _cmyk_to_rgb(image), (*notes, "CMYK coded as sRGB")
    elif image.mode == "LAB":
        notes = (*notes, "LAB coded as sRGB")
    array = np.array(image.convert(_mode(image)))
    return array if array.ndim == 3 else array[..., None], notes


def split_alpha(samples: Samples) -> tuple[Samples, Samples | None]:
    """Pixels, and alpha where there are 2 or 4 channels."""
    if samples.shape[2] % 2:
        return np.ascontiguousarray(samples), None
    return np.ascontiguousarray(samples[..., :-1]), np.ascontiguousarray(samples[..., -1])


def _is_deep(image: Image.Image) -> bool:
    for tile in getattr(image, "tile", []):
        raw, *rest = tile.args if isinstance(tile.args, tuple) else (tile.args,)
        if ";16" in str(raw) or (tile.codec_name.startswith("ppm") and rest[-1] > 255):
            return True
    return False


def _mode(image: Image.Image) -> str:
    """The mode of four that holds the image's colours, and its alpha or its transparent colour."""
    mode = {"1": "L", "La": "LA", "PA": "RGBA", "RGBa": "RGBA"}.get(image.mode, image.mode)
    if mode not in ("L", "LA", "RGBA"):
        mode = "RGB"
    return mode + "A" if mode in ("L", "RGB") and "transparency" in image.info else mode


def _grey_samples(image: Image.Image) -> tuple[Samples, Notes]:
    """Samples of the modes of more than 8 bits, which are grey."""
    array, key = np.asarray(image), image.info.get("transparency")
    if image.mode == "I":  # 32-bit integers, in which Pillow keeps 16-bit samples
        low, high = int(array.min()), int(array.max())
        if low < 0 or high > 65535:
            raise ImageError(f"32-bit samples run from {low} to {high}: expected 0 to 65535; scale them first")
        array = array.astype(np.uint16)
    grey, notes = array_samples(array)
    planes = [grey, np.where(array == key, 0, 255).astype(np.uint8)] if isinstance(key, int) else [grey]
    return np.stack(planes, axis=2), notes


def _cmyk_to_rgb(image: Image.Image) -> Image.Image:
    """By the image's own profile if it has one; else as Pillow does."""
    if icc := image.info.get("icc_profile"):
        try:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
            converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError):  # a damaged profile says nothing of the colours
            return image
        return converted or image
    return image
