"""Results of an evaluation: codecs, their points and pictures, and the JSON file that keeps them."""

from __future__ import annotations

import dataclasses
import json
import os
import types
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from tinify.errors import InputError
from tinify.files import read_bytes, write_atomic

FORMAT = 1
MAX_BYTES = 1 << 28

_T = TypeVar("_T")


@dataclass(frozen=True)
class Machine:
    """Where and when was measured; ``torch`` is None where nothing loaded it."""

    cpu: str
    cores: int
    threads: int
    python: str
    torch: str | None
    date: str


@dataclass(frozen=True)
class PictureSet:
    """The pictures, in order: their names, sizes as (width, height), and a digest of all their pixels.

    ``skipped`` tells of the files in the folder that could not be read, each with the reason.
    """

    folder: str
    count: int
    digest: str
    names: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True)
class PictureScore:
    """One codec at one setting on one picture: bytes of the file, distances of the 8-bit pixels, median seconds.

    ``psnr`` is of RGB, ``psnr_yuv`` is the mean of Y, U and V weighted 6:1:1 (:mod:`tinify.evaluation.quality`);
    ``ms_ssim`` is None for a picture that is too small for it.
    """

    name: str
    bytes: int
    bpp: float
    psnr: float
    psnr_yuv: float
    ms_ssim: float | None
    encode_s: float
    decode_s: float
    psnr_y: float | None = None
    psnr_u: float | None = None
    psnr_v: float | None = None
    lpips: float | None = None
    estimated_bpp: float | None = None


@dataclass(frozen=True)
class Point:
    """One codec at one setting: the means of its pictures' figures; ``quality`` is None for a codec that has none."""

    quality: float | None
    bpp: float
    psnr: float
    psnr_yuv: float
    ms_ssim: float | None
    encode_s: float
    decode_s: float
    estimated_bpp: float | None = None
    lpips: float | None = None
    psnr_y: float | None = None
    psnr_u: float | None = None
    psnr_v: float | None = None
    pictures: tuple[PictureScore, ...] = ()


@dataclass(frozen=True)
class CodecResult:
    """One codec: its name as asked for, a label to show, what it costs, and its points by rising rate."""

    name: str
    label: str
    points: tuple[Point, ...]
    kmac_per_pixel: float | None = None
    parameters: int | None = None
    peak_mib: float | None = None


@dataclass(frozen=True)
class BdResult:
    """Bjøntegaard deltas of a codec against an anchor: rate in per cent, quality in decibels, shared part of the range.

    A delta is None where it cannot be had; ``warning`` says why, or why it is to be taken with care.
    """

    codec: str
    anchor: str
    metric: str
    rate_percent: float | None
    quality_db: float | None
    overlap: float
    warning: str | None = None


@dataclass(frozen=True)
class Results:
    """All that one evaluation found; ``references`` names published curves to show beside it."""

    machine: Machine
    pictures: PictureSet
    codecs: tuple[CodecResult, ...]
    bd: tuple[BdResult, ...] = ()
    references: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def codec(self, name: str) -> CodecResult:
        """The codec of that name; :class:`~tinify.errors.InputError` if it was not measured."""
        for codec in self.codecs:
            if codec.name == name:
                return codec
        raise InputError(f"no codec {name!r} in these results: there are {', '.join(c.name for c in self.codecs)}")


def to_json(results: Results) -> str:
    """The JSON text of results."""
    return json.dumps({"tinify_results": FORMAT} | asdict(results), indent=1, allow_nan=False) + "\n"


def from_json(text: str | bytes, name: str = "the text") -> Results:
    """The results in a JSON text; :class:`~tinify.errors.InputError` says at which key it is none.

    >>> from_json('{"tinify_results": 2}')
    Traceback (most recent call last):
    tinify.errors.InputError: the text: results of format 2, and only format 1 is read here: update tinify
    """
    try:
        found = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name} is not JSON: {error}; give a file that tinify bench --out NAME.json wrote") from error
    if not isinstance(found, dict) or "tinify_results" not in found:
        raise InputError(f"{name} has no results of tinify: give a file that tinify bench --out NAME.json wrote")
    if found["tinify_results"] != FORMAT:
        raise InputError(
            f"{name}: results of format {found['tinify_results']}, and only format {FORMAT} is read here: update tinify"
        )
    return _record(Results, found, name)


def save(results: Results, path: str | os.PathLike[str]) -> None:
    """Writes the JSON file, whole or not at all; :class:`~tinify.errors.OutputError` if it cannot be written."""
    write_atomic(path, to_json(results).encode())


def load(path: str | os.PathLike[str]) -> Results:
    """The results in a JSON file; :class:`~tinify.errors.InputError` if there are none."""
    return from_json(read_bytes(path, MAX_BYTES, InputError), str(path))


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is no number")


def _value(kind: Any, found: Any, place: str) -> Any:
    """A plain value as the type that a field is declared with; keys that no field has are left out."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _record(kind, found, place)  # type: ignore[arg-type]
    if origin is types.UnionType:
        return None if found is None else _value(inner[0], found, place)
    if origin is tuple:
        if not isinstance(found, list) or (inner[-1] is not ... and len(found) != len(inner)):
            raise InputError(f"{place} is {found!r:.60}: expected a list")
        kinds = [inner[0]] * len(found) if inner[-1] is ... else inner
        return tuple(
            _value(kind, one, f"{place}[{index}]") for index, (kind, one) in enumerate(zip(kinds, found, strict=True))
        )
    accepted = (int, float) if kind is float else (kind,)
    if not isinstance(found, accepted) or isinstance(found, bool):
        raise InputError(f"{place} is {found!r:.60}: expected {kind.__name__}")
    return kind(found)


def _record(kind: type[_T], found: Any, place: str) -> _T:
    if not isinstance(found, Mapping):
        raise InputError(f"{place} is {found!r:.60}: expected an object")
    hints, values = typing.get_type_hints(kind), {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        if field.name in found:
            values[field.name] = _value(hints[field.name], found[field.name], f"{place}: {field.name}")
        elif field.default is dataclasses.MISSING:
            raise InputError(f"{place} has no {field.name!r}: expected results of tinify, complete")
    return kind(**values)
