"""A model of tinify as a picture codec: one checkpoint, or those of all qualities of a spec."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from pathlib import Path

from tinify import container
from tinify.checkpoint import load_checkpoint
from tinify.codec import Codec
from tinify.evaluation.codec import PictureCodec, Pixels
from tinify.images import Picture
from tinify.models.portable import PORTABLE, thawed
from tinify.registry import get_registry
from tinify.weights import find_weights


class ModelCodec(PictureCodec):
    """Models by the name or path of their weights.

    The name of a spec with weights ``NAME-q1``, ``NAME-q2``, ... has these as its qualities; a checkpoint of variable
    rate the whole numbers between its lowest and highest quality (and all between them); another has none.

    >>> ModelCodec("tinify-photo").suffix
    '.tfy'
    """

    suffix = ".tfy"

    def __init__(self, name: str, *, precision: str = "float32") -> None:
        self._precision = precision
        self._files: dict[float | None, Path] = _files(name)
        self._codecs: dict[Path, Codec] = {}
        codec = self._loaded(next(iter(self._files.values())))
        self.settings = tuple(self._files)
        if codec.qualities is not None and None in self._files:
            low, high = self.limits = codec.qualities
            self.settings = tuple(range(math.ceil(low), math.floor(high) + 1)) or (low, high)
        self.label = name.rpartition("/")[2].removesuffix(".safetensors")
        model = thawed(codec.model) if codec.model.arithmetic == PORTABLE else codec.model
        self.parameters = sum(parameter.numel() for parameter in model.parameters())
        self.kmac_per_pixel = _kmac_per_pixel(codec)

    def encode(self, pixels: Pixels, quality: float | None) -> bytes:
        return self._codec(quality).compress(Picture(pixels))

    def decode(self, data: bytes) -> Pixels:
        packed = container.read(data)
        ready_first = sorted(self._files.values(), key=lambda path: path not in self._codecs)
        made_by = (codec for codec in map(self._loaded, ready_first) if codec.digest == packed.header.model_digest)
        codec = next(made_by, None) or self._loaded(ready_first[0])  # which says whose file it is
        return codec.decode(packed).pixels

    def estimate(self, pixels: Pixels, quality: float | None) -> float | None:
        return self._codec(quality).estimate(Picture(pixels))

    def _codec(self, quality: float | None) -> Codec:
        self.check(quality)
        if quality is not None and self.limits:
            return self._loaded(self._files[None]).at(quality)
        return self._loaded(self._files[quality])

    def _loaded(self, path: Path) -> Codec:
        if path not in self._codecs:
            self._codecs[path] = Codec(load_checkpoint(path), precision=self._precision)
        return self._codecs[path]


def _files(name: str) -> dict[float | None, Path]:
    """The weights behind a name, by quality; None for weights that stand alone."""
    known = get_registry().weight_files()
    found = {re.fullmatch(rf"{re.escape(name)}-q(\d+)", key): path for key, path in known.items()}
    several: dict[float | None, Path] = {int(match[1]): path for match, path in found.items() if match}
    if not several or name in known or Path(name).is_file():
        return {None: find_weights(name)}
    return dict(sorted(several.items(), key=lambda item: item[0] or 0))


def _kmac_per_pixel(codec: Codec) -> float | None:
    """Thousand multiply-accumulates for a pixel, encoder and decoder together; None if a part has no cost rule."""
    assert codec.model.architecture is not None
    rows = codec.model.architecture.parts()
    if any(row.cost is None and row.inputs for row in rows):
        return None
    return float(sum((row.cost.macs for row in rows if row.cost), Fraction(0)) / 1000)
