"""A picture codec: pixels to bytes and back at a chosen quality; what ``tinify bench`` compares, whoever wrote it."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinify.errors import InputError, PluginError, UnknownNameError
from tinify.plugin import Component, Parameter
from tinify.registry import get_registry
from tinify.spec import elaborate_part

Pixels = NDArray[np.uint8]

KIND = "picture_codec"
_TEXT = re.compile(r"(?P<name>[^\[\]]+)(?:\[(?P<arguments>[^\[\]]*)\])?")


class PictureCodec(ABC):
    """What a component of kind ``picture_codec`` makes.

    ``settings`` are the qualities that are measured by default, by rising rate: ``(None,)`` for a codec that has no
    such setting; ``limits`` the lowest and the highest quality there is. The others are facts for tables, None where
    they are not known.

    >>> class Raw(PictureCodec):
    ...     '''Samples as they are.'''
    ...     def encode(self, pixels, quality):
    ...         return np.array(pixels.shape, "<u4").tobytes() + pixels.tobytes()
    ...     def decode(self, data):
    ...         return np.frombuffer(data[12:], np.uint8).reshape(np.frombuffer(data[:12], "<u4"))
    >>> Raw().decode(Raw().encode(np.ones((2, 3, 3), np.uint8), None)).shape
    (2, 3, 3)
    """

    settings: Sequence[float | None] = (None,)
    limits: tuple[float, float] | None = None
    label: str | None = None
    suffix: str = ".bin"
    parameters: int | None = None
    kmac_per_pixel: float | None = None

    @abstractmethod
    def encode(self, pixels: Pixels, quality: float | None) -> bytes:
        """The file of a picture, uint8 (height, width, 3), at one of the qualities."""

    @abstractmethod
    def decode(self, data: bytes) -> Pixels:
        """The picture in a file, uint8 (height, width, 3)."""

    def estimate(self, pixels: Pixels, quality: float | None) -> float | None:
        """Bits that the codec's own model of probabilities promises; None for a codec that has none."""
        return None

    def check(self, quality: float | None) -> None:
        """Raises :class:`~tinify.errors.InputError` for a quality that the codec has not."""
        if self.limits is None:
            if quality not in self.settings:
                there = "no quality to set" if self.settings == (None,) else f"qualities {_words(self.settings)}"
                raise InputError(f"quality {'none' if quality is None else f'{quality:g}'}: this codec has {there}")
        elif quality is None or not self.limits[0] <= quality <= self.limits[1]:
            low, high = self.limits
            raise InputError(f"quality {'none' if quality is None else f'{quality:g}'}: expected {low:g} to {high:g}")


def parse(text: str) -> tuple[str, dict[str, str]]:
    """Name and arguments of a codec as they are written on the command line.

    >>> parse("jpeg[subsampling=4:4:4]")
    ('jpeg', {'subsampling': '4:4:4'})
    """
    found = _TEXT.fullmatch(text.strip())
    pairs = [pair.partition("=") for pair in (found["arguments"] or "").split(",") if pair.strip()] if found else []
    if not found or any(not equals or not key.strip() for key, equals, _ in pairs):
        raise InputError(f"codec {text!r}: expected NAME or NAME[key=value,...], such as jpeg[subsampling=4:4:4]")
    return found["name"].strip(), {key.strip(): value.strip() for key, _, value in pairs}


def split(text: str) -> list[str]:
    """A list of codecs, taken apart at its commas but for those in brackets.

    >>> split("jpeg[subsampling=4:4:4,x=1],webp")
    ['jpeg[subsampling=4:4:4,x=1]', 'webp']
    """
    return [part.strip() for part in re.split(r",(?![^\[]*\])", text) if part.strip()]


def open_codec(text: str, *, precision: str = "float32") -> PictureCodec:
    """The codec of a name: that of a registered component, or a model of tinify by the name or path of its weights.

    ``precision`` is for models, that of :class:`~tinify.codec.Codec`. Raises
    :class:`~tinify.errors.UnknownNameError` for a name that nothing has, and
    :class:`~tinify.errors.SpecError` for arguments that the component does not take.

    >>> open_codec("jpeg[subsampling=4:4:4]").limits
    (0, 100)
    """
    name, arguments = parse(text)
    component = get_registry().find((KIND,), name)
    if component is not None:
        return _build(component, arguments)
    if arguments:
        raise InputError(f"codec {text!r}: {name!r} is no component that takes arguments: {_known(name)}")
    from tinify.weights import find_weights

    try:
        find_weights(name)
    except UnknownNameError as error:
        if name in get_registry().spec_files():
            raise  # a spec without weights, which says so
        raise UnknownNameError(_known(name)) from error
    from tinify.evaluation.models import ModelCodec

    return ModelCodec(name, precision=precision)


def names() -> list[str]:
    """Every picture codec that plugins offer."""
    return [component.name for component in get_registry().components(KIND)]


def _known(name: str) -> str:
    weights = get_registry().weight_files()
    models = {*weights, *(key.rpartition("-q")[0] for key in weights if re.search(r"-q\d+$", key))}
    reason = get_registry().missing(name)
    return str(UnknownNameError.among("codec", name, {*names(), *models})) + (f" ({reason})" if reason else "")


def _build(component: Component, arguments: dict[str, str]) -> PictureCodec:
    values = {key: _plain(text, component.params.get(key)) for key, text in arguments.items()}
    canonical: Any = elaborate_part(KIND, {"type": component.key, **values}).canonical
    try:
        made = component.load()(**{name: canonical[name] for name in component.params})
    except Exception as error:
        error.add_note(f"while making {component} of {component.provider} with {values}")
        raise
    if not isinstance(made, PictureCodec):
        raise PluginError(f"{component} of {component.provider} made a {type(made).__name__}: expected a PictureCodec")
    return made


def _plain(text: str, parameter: Parameter | None) -> Any:
    """A word as the type that the parameter has; what does not fit stays a word, and is refused with the others."""
    kind = parameter.type if parameter else str
    if kind is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    if kind in (int, float):
        try:
            return int(text)
        except ValueError:
            pass
        try:
            value = float(text)
        except ValueError:
            return text
        return value if math.isfinite(value) else text
    return text


def _words(settings: Sequence[float | None]) -> str:
    return ", ".join(f"{setting:g}" for setting in settings if setting is not None)
