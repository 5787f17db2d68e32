"""Models by name: the weights that installed packages carry, and the calls for those who just want a codec."""

from __future__ import annotations

import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from PIL import Image

from tinify import container, images
from tinify.checkpoint import load_checkpoint
from tinify.codec import Codec
from tinify.errors import InputError, WrongModelError
from tinify.images import Picture
from tinify.models import CompressionModel
from tinify.registry import get_registry
from tinify.weights import DEFAULT, choose_weights, find_weights


def load_model(name: str | Path = DEFAULT, *, quality: float | None = None, device: str = "cpu") -> CompressionModel:
    """A trained model in evaluation mode, by name or by the path of a checkpoint.

    >>> load_model("tinify-photo").architecture.name
    'tinify-photo'
    """
    return load_checkpoint(find_weights(str(name), quality), device)


def load_codec(name: str | Path = DEFAULT, quality: float | None = None, **options: Any) -> Codec:
    """A ready codec, by the name or path of its weights; the last few are kept until their files change.

    ``quality`` and ``options`` (``precision``, ``exact_pixels``) are those of :class:`~tinify.codec.Codec`.
    """
    path, quality = choose_weights(str(name), quality)
    codec = _codec(path, path.stat().st_mtime_ns if path.is_file() else 0, **options)
    return codec if quality is None else codec.at(quality)


@lru_cache(maxsize=4)
def _codec(path: Path, changed: int, **options: Any) -> Codec:
    return Codec(load_checkpoint(path), **options)


def codec_for(header: container.Header, model: str | Path | None = None, **options: Any) -> Codec:
    """The codec that a file needs: the one named in its header, or in ``model``; ``options`` as in ``load_codec``."""
    installed = get_registry().weight_files()
    if model is None and header.model_name not in installed:
        raise WrongModelError(
            f"this file was coded by model {header.model_name!r} ({header.model_digest.hex()[:12]}), which is "
            f"not among the installed weights ({', '.join(sorted(installed)) or 'none'}): "
            "give its weights with --model FILE"
        )
    return load_codec(model or header.model_name, **options)


def compress(
    image: Image.Image | NDArray[Any] | Picture,
    model: str | Path | CompressionModel = DEFAULT,
    *,
    quality: float | None = None,
) -> bytes:
    """A picture as `.tfy` bytes; a warning says where precision was lost.

    ``image`` is a Pillow image, or an array (height, width[, 1 to 4]) of uint8, uint16 or floats in [0, 1]; ``model``
    is the name or path of weights, or a model. ``quality`` is for models of variable rate, from 1, the smallest file,
    to 10 in that of ``tinify-photo``; the default is 5.

    >>> import numpy as np
    >>> decompress(compress(np.zeros((8, 12, 3), np.uint8))).size
    (12, 8)
    """
    codec = Codec(model, quality=quality) if isinstance(model, CompressionModel) else load_codec(model, quality)
    picture = images.as_picture(image)
    for note in picture.notes:
        warnings.warn(note, stacklevel=2)
    return codec.compress(picture)


def decompress(
    data: bytes, model: str | Path | CompressionModel | None = None, *, exact_pixels: bool = False
) -> Image.Image:
    """The Pillow image in `.tfy` bytes; ``model`` is needed only for weights that no installed package carries.

    With ``exact_pixels`` every machine gets the same pixels, hash for hash, from portable weights, in several times the
    time; without it they differ by a level of 255 at most.
    """
    if not isinstance(data, bytes | bytearray | memoryview):
        raise InputError(
            f"expected the bytes of a .tfy file, got {type(data).__name__}; read it with Path(...).read_bytes()"
        )
    packed = container.read(bytes(data))
    options = {"exact_pixels": True} if exact_pixels else {}
    if isinstance(model, CompressionModel):
        codec = Codec(model, exact_pixels=exact_pixels)
    else:
        codec = codec_for(packed.header, model, **options)
    return images.to_pil(codec.decode(packed))
