"""The evaluation itself: several codecs over the pictures of a folder, and the deltas between their curves."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from tinify.errors import InputError, UnknownNameError
from tinify.evaluation.codec import PictureCodec, open_codec
from tinify.evaluation.deltas import deltas
from tinify.evaluation.machine import machine
from tinify.evaluation.measure import check_settings, measure
from tinify.evaluation.memory import peak_memory
from tinify.evaluation.perceptual import find_lpips
from tinify.evaluation.pictures import Folder, open_folder
from tinify.evaluation.published import KODAK, Reference, reference, references
from tinify.evaluation.quality import Distance
from tinify.evaluation.results import CodecResult, Results

Settings = Mapping[str, Sequence[float]]

_OTHER_PICTURES = (
    "published curves are of the 24 Kodak pictures and these are others: no deltas are taken against them, "
    "and a figure with both says nothing"
)


def evaluate(
    codecs: Sequence[str] | Mapping[str, PictureCodec],
    folder: str | os.PathLike[str],
    *,
    qualities: Settings | None = None,
    points: int | None = None,
    anchor: str | None = None,
    curves: Sequence[str] = (),
    join: str | None = None,
    rounds: int = 3,
    limit: int | None = None,
    memory: bool = True,
    precision: str = "float32",
    progress: Callable[[str], None] = lambda text: None,
) -> Results:
    """Every codec over every picture, through real files, with Bjøntegaard deltas.

    ``codecs`` are names as :func:`~tinify.evaluation.codec.open_codec` takes them, or codecs by name. ``qualities`` has
    settings for codecs by name, and under ``""`` those of all others; ``points`` keeps so many of the default settings.
    ``join`` makes one codec of that name of them all, as of the checkpoints of one architecture. Deltas are against
    ``anchor``, one of the codecs or a published curve, and each of the published ``curves``.
    ``limit`` takes only the first pictures; with ``memory`` each codec also runs in a process of its own, on the
    largest picture. ``progress`` is told what is being done.

    All names and settings are checked before anything is measured. Raises the errors of :mod:`tinify.errors`.
    """
    if rounds < 1:
        raise InputError(f"rounds {rounds}: expected 1 or more")
    opened = _opened(codecs, precision)
    settings = _all_settings(opened, qualities or {}, points)
    shown = _curves(anchor, curves, [join] if join else list(opened))
    pictures = open_folder(folder, limit)
    notes: list[str] = []
    lpips = _lpips(notes)
    found = []
    for name, codec in opened.items():
        measured = measure(codec, name, pictures, settings[name], rounds=rounds, lpips=lpips, progress=progress)
        peak = None
        if memory:
            progress(f"{name}: peak memory")
            peak = _peak(name, pictures, settings[name], precision, notes)
        label = codec.label or name
        found.append(CodecResult(name, label, measured, codec.kmac_per_pixel, codec.parameters, peak))
    if join:
        found = [joined(found, join)]
    if shown and pictures.facts.digest != KODAK:
        notes.append(_OTHER_PICTURES)
    anchors: list[CodecResult | Reference] = [codec for codec in found if codec.name == anchor]
    anchors += shown if pictures.facts.digest == KODAK else []
    named = tuple(curve.name for curve in shown)
    return Results(machine(), pictures.facts, tuple(found), deltas(found, anchors), named, tuple(notes))


def joined(codecs: Sequence[CodecResult], name: str) -> CodecResult:
    """One codec whose points are those of all; it costs what the dearest does."""
    points = sorted((point for codec in codecs for point in codec.points), key=lambda point: point.bpp)
    costs = {
        fact: max((cost for codec in codecs if (cost := getattr(codec, fact)) is not None), default=None)
        for fact in ("kmac_per_pixel", "parameters", "peak_mib")
    }
    return replace(codecs[0], name=name, label=name, points=tuple(points), **costs)


def _opened(codecs: Sequence[str] | Mapping[str, PictureCodec], precision: str) -> dict[str, PictureCodec]:
    if isinstance(codecs, Mapping):
        return dict(codecs)
    named = [codec.strip() for codec in codecs]
    if not named or len(set(named)) < len(named):
        raise InputError(f"codecs {', '.join(named) or '(none)'}: expected one or more, each once")
    return {name: open_codec(name, precision=precision) for name in named}


def _all_settings(
    opened: Mapping[str, PictureCodec], given: Settings, points: int | None
) -> dict[str, list[float | None]]:
    for name in set(given) - {"", *opened}:
        raise UnknownNameError.among("codec to set qualities of", name, opened)
    if points is not None and points < 1:
        raise InputError(f"points {points}: expected 1 or more")
    if "" in given and all(codec.settings == (None,) for codec in opened.values()):
        raise InputError(f"no quality can be set of {', '.join(opened)}: leave the qualities out")
    found = {name: _settings(name, codec, given, points) for name, codec in opened.items()}
    for name, codec in opened.items():
        check_settings(codec, name, found[name])
    return found


def _settings(name: str, codec: PictureCodec, given: Settings, points: int | None) -> list[float | None]:
    """What is measured of a codec: the settings given for it, else its own, thinned evenly to ``points``."""
    own = list(codec.settings)
    if name in given:
        return list(given[name])
    if "" in given and own != [None]:
        return list(given[""])
    if points is None or points >= len(own):
        return own
    return [own[round(place * (len(own) - 1) / max(1, points - 1))] for place in range(points)]


def _curves(anchor: str | None, names: Sequence[str], measured: Sequence[str]) -> list[Reference]:
    """The published curves that are asked for, an anchor that is one of them first."""
    if anchor is not None and anchor not in measured:
        if anchor not in references():
            raise UnknownNameError.among("anchor", anchor, {*measured, *references()})
        names = [anchor, *names]
    return [reference(name) for name in dict.fromkeys(names)]


def _lpips(notes: list[str]) -> Distance | None:
    try:
        return find_lpips()
    except InputError as error:
        notes.append(str(error))
        return None


def _peak(
    name: str, pictures: Folder, settings: Sequence[float | None], precision: str, notes: list[str]
) -> float | None:
    try:
        return peak_memory(name, pictures.largest, settings[len(settings) // 2], precision)
    except InputError as error:
        notes.append(str(error))
        return None
