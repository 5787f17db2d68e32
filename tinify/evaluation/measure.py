"""One codec over all pictures: encoded to a file, read back, decoded, compared and timed."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from statistics import fmean, median
from typing import TypeVar

import numpy as np

from tinify.errors import InputError, PluginError, TinifyError
from tinify.evaluation.codec import PictureCodec, Pixels
from tinify.evaluation.pictures import Folder
from tinify.evaluation.quality import Distance, compare
from tinify.evaluation.results import PictureScore, Point

T = TypeVar("T")

_MEANS = [field.name for field in fields(Point) if field.name not in ("quality", "pictures")]


def measure(
    codec: PictureCodec,
    name: str,
    folder: Folder,
    settings: Sequence[float | None],
    *,
    rounds: int = 3,
    lpips: Distance | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> tuple[Point, ...]:
    """The codec's point for every setting, by rising rate.

    The first picture is coded once at every setting before anything is timed. Each picture's seconds are the median of
    ``rounds``, of the codec alone: reading and writing the files is not in them.
    """
    found: dict[float | None, list[PictureScore]] = {setting: [] for setting in settings}
    with tempfile.TemporaryDirectory(prefix="tinify-eval-") as temporary:
        for index, (picture, pixels) in enumerate(folder):
            for setting in settings:
                progress(f"{name}{'' if setting is None else f', quality {setting:g}'}: {picture}")
                path = Path(temporary) / f"coded{codec.suffix}"
                place = f"codec {name} fails on {picture}{'' if setting is None else f' at quality {setting:g}'}"
                if index == 0:
                    _code(codec, pixels, setting, path, 1, place)
                found[setting].append(_score(codec, picture, pixels, setting, path, rounds, lpips, place))
    return tuple(sorted((_point(setting, scores) for setting, scores in found.items()), key=lambda point: point.bpp))


def _score(
    codec: PictureCodec,
    name: str,
    pixels: Pixels,
    setting: float | None,
    path: Path,
    rounds: int,
    lpips: Distance | None,
    place: str,
) -> PictureScore:
    decoded, encode_s, decode_s = _code(codec, pixels, setting, path, rounds, place)
    estimated = _guarded(lambda: codec.estimate(pixels, setting), place)
    height, width, _ = pixels.shape
    size, area = path.stat().st_size, height * width
    return PictureScore(
        name=name,
        bytes=size,
        bpp=8 * size / area,
        encode_s=encode_s,
        decode_s=decode_s,
        estimated_bpp=None if estimated is None else estimated / area,
        **vars(compare(pixels, decoded, lpips)),
    )


def _code(
    codec: PictureCodec, pixels: Pixels, setting: float | None, path: Path, rounds: int, place: str
) -> tuple[Pixels, float, float]:
    """The picture after it went through the file ``path``, and median seconds of both ways."""
    encoding, decoding = [], []
    for _ in range(rounds):
        data, seconds = _timed(lambda: codec.encode(pixels, setting), place)
        encoding.append(seconds)
        if not isinstance(data, bytes):
            raise PluginError(f"{place}: encode gives a {type(data).__name__}, expected bytes")
        path.write_bytes(data)
        read = path.read_bytes()
        decoded, seconds = _timed(lambda read=read: codec.decode(read), place)  # type: ignore[misc]
        decoding.append(seconds)
    if not isinstance(decoded, np.ndarray) or decoded.dtype != np.uint8 or decoded.shape != pixels.shape:
        got = f"{decoded.dtype} {decoded.shape}" if isinstance(decoded, np.ndarray) else type(decoded).__name__
        raise PluginError(f"{place}: decode gives {got}, expected uint8 {pixels.shape}")
    return decoded, median(encoding), median(decoding)


def _timed(function: Callable[[], T], place: str) -> tuple[T, float]:
    begun = time.perf_counter()
    result = _guarded(function, place)
    return result, time.perf_counter() - begun


def _guarded(function: Callable[[], T], place: str) -> T:
    """What a codec does, whoever wrote it; whatever it raises tells where."""
    try:
        return function()
    except TinifyError as error:
        raise type(error)(f"{place}: {error}") from error
    except Exception as error:
        raise PluginError(f"{place}: {type(error).__name__}: {error}") from error


def _point(setting: float | None, scores: list[PictureScore]) -> Point:
    """Means over the pictures; of a figure that a picture lacks, over those that have it."""
    means: dict[str, float | None] = {}
    for name in _MEANS:
        values = [value for score in scores if (value := getattr(score, name)) is not None]
        means[name] = fmean(values) if values else None
    return Point(quality=setting, pictures=tuple(scores), **means)  # type: ignore[arg-type]


def check_settings(codec: PictureCodec, name: str, settings: Sequence[float | None]) -> None:
    """Raises :class:`~tinify.errors.InputError` for a setting that the codec has not, or one given twice."""
    if not settings:
        raise InputError(f"codec {name}: no quality to measure")
    if len(set(settings)) < len(settings):
        raise InputError(f"codec {name}: a quality is given twice")
    for setting in settings:
        try:
            codec.check(setting)
        except InputError as error:
            raise InputError(f"codec {name}: {error}") from error
