"""Which pictures and codecs a report puts side by side, and their panels, as many as a small page holds."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tinify.errors import ImageError, InputError, TinifyError
from tinify.evaluation.codec import PictureCodec, Pixels, open_codec
from tinify.evaluation.pictures import read_pixels
from tinify.evaluation.report.merge import Merged
from tinify.evaluation.report.panels import Panel, panel
from tinify.evaluation.results import CodecResult
from tinify.images import SUFFIXES

#: Bytes that the PNG files of a page may take together; Base64 makes 4/3 of them.
BUDGET = 5_600_000

# Where differences are plain to see, and pictures still in use.
_BPP = 0.4


@dataclass(frozen=True)
class Comparison:
    """The codecs of a comparer: the first sets the bytes, at a quality (None: chosen); the others follow."""

    names: Sequence[str]
    quality: float | None = None


def gather(
    merged: Merged, comparison: Comparison | None = None, folder: Path | None = None, count: int = 4
) -> tuple[list[Panel], list[str]]:
    """Panels of ``count`` pictures at most, and notes on what was left out and why.

    Without a comparison the first model of the results stands beside JPEG; without a folder the pictures are those of
    the results, where they still lie in the folder that the results name. What was asked for and cannot be had raises
    :class:`~tinify.errors.InputError` or the codec's own error; what was not asked for becomes a note.
    """
    if count < 1:
        return [], ["The report was made without pictures."]
    paths = _named(merged) if folder is None else _listed(folder)
    if not paths:
        return [], ["The pictures are not at hand: tinify report --pictures DIR shows some of them side by side."]
    try:
        codecs, labels, quality = _codecs(merged, comparison or _usual(merged))
    except TinifyError as error:
        if comparison is not None:
            raise
        return [], [f"No pictures are shown side by side: {error}"]
    return _panels(paths, codecs, labels, quality, count)


def _panels(
    paths: list[Path], codecs: list[PictureCodec], labels: list[str], quality: float | None, count: int
) -> tuple[list[Panel], list[str]]:
    panels: list[Panel] = []
    notes: list[str] = []
    used = 0
    for path, pixels in _read(_spread(paths, count), notes):
        one = panel(path.name, pixels, path.stat().st_size, codecs[0], quality, codecs[1:], labels)
        used += sum(len(side.png) for side in one.sides)
        if used > BUDGET:
            notes.append(f"{len(panels)} of {count} pictures are shown side by side, so that the page stays small.")
            break
        panels.append(one)
    return panels, notes


def _usual(merged: Merged) -> Comparison:
    """The first model of the results beside JPEG; any other codec where there is no model."""
    codecs = [codec for one in merged.results.values() for codec in one.codecs]
    first = sorted((c for c in codecs if c.name != "jpeg"), key=lambda codec: codec.parameters is None)
    if not first:
        raise InputError("the results have no codec to put beside JPEG")
    return Comparison([first[0].name, "jpeg"])


def _codecs(merged: Merged, wanted: Comparison) -> tuple[list[PictureCodec], list[str], float | None]:
    if not wanted.names:
        raise InputError("--compare is empty: name codecs with commas between, such as tinify-photo,jpeg")
    known = {codec.name: codec for one in merged.results.values() for codec in one.codecs}
    codecs = [open_codec(name) for name in wanted.names]
    labels = [
        known[name].label if name in known else codec.label or name
        for name, codec in zip(wanted.names, codecs, strict=True)
    ]
    quality = wanted.quality
    if quality is None:
        quality = _quality(known.get(wanted.names[0]), codecs[0])
    codecs[0].check(quality)
    return codecs, labels, quality


def _quality(measured: CodecResult | None, codec: PictureCodec) -> float | None:
    """The measured quality next to a telling rate; a middle one where none was measured that the codec has."""
    for point in sorted(measured.points if measured else (), key=lambda point: abs(point.bpp - _BPP)):
        with suppress(InputError):
            codec.check(point.quality)
            return point.quality
    return codec.settings[len(codec.settings) // 2]


def _named(merged: Merged) -> list[Path]:
    """The pictures of the results that lie in their folder; a name that leads elsewhere is in no listing."""
    for one in merged.results.values():
        names = set(one.pictures.names)
        found = [path for path in _in(Path(one.pictures.folder)) if path.name in names]
        if found:
            return found
    return []


def _listed(folder: Path) -> list[Path]:
    found = _in(folder)
    if not found:
        raise InputError(f"--pictures {folder}: expected a folder with pictures ({', '.join(sorted(SUFFIXES))})")
    return found


def _in(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            files = [Path(entry.path) for entry in entries if entry.is_file()]
    except (OSError, ValueError):
        return []
    return sorted(path for path in files if path.suffix.lower() in SUFFIXES)


def _spread(paths: list[Path], count: int) -> list[Path]:
    """So many paths, evenly from the whole list."""
    return [paths[index * len(paths) // count] for index in range(count)] if len(paths) > count else paths


def _read(paths: list[Path], notes: list[str]) -> Iterator[tuple[Path, Pixels]]:
    for path in paths:
        try:
            yield path, read_pixels(path)
        except ImageError as error:
            notes.append(f"A picture was left out: {error}")
