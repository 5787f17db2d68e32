"""Several results as one: codecs that share a name are told apart by their file, pictures that differ are told of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tinify.evaluation.published import KODAK, Reference
from tinify.evaluation.results import BdResult, CodecResult, Results


@dataclass(frozen=True)
class Curve:
    """A published curve beside the measured ones; a point has ``bpp`` and of the other figures those published."""

    name: str
    label: str
    points: tuple[Mapping[str, float], ...]
    note: str


@dataclass(frozen=True)
class Merged:
    """What a page shows: results by the names of their files, codecs and deltas of all, published curves."""

    results: Mapping[str, Results]
    codecs: tuple[CodecResult, ...]
    bd: tuple[BdResult, ...]
    references: tuple[Curve, ...] = ()
    notes: tuple[str, ...] = ()


def merge(results: Mapping[str, Results], references: Sequence[Reference] = ()) -> Merged:
    """Results by the names of their files, as one; a name that two files have gets the file's beside it.

    ``notes`` say what cannot be compared: curves measured on other pictures than those of the first file, and published
    ones where these are not the Kodak pictures.
    """
    names = Counter(codec.name for one in results.values() for codec in one.codecs)
    labels = Counter(codec.label for one in results.values() for codec in one.codecs)
    codecs: list[CodecResult] = []
    bd: list[BdResult] = []
    for file, one in results.items():
        new = {codec.name: _apart(codec.name, names, file) for codec in one.codecs}
        codecs += [replace(c, name=new[c.name], label=_apart(c.label, labels, file)) for c in one.codecs]
        bd += [replace(b, codec=new.get(b.codec, b.codec), anchor=new.get(b.anchor, b.anchor)) for b in one.bd]
    notes = _other_pictures(results)
    if references and any(one.pictures.digest != KODAK for one in results.values()):
        notes.append(
            "The published curves are of the 24 Kodak pictures, and these are others: take them as a rough guide"
        )
    curves = [_curve(one, labels) for one in references]
    return Merged(results, tuple(codecs), tuple(bd), tuple(curves), tuple(notes))


def _curve(found: Reference, taken: Counter[str]) -> Curve:
    columns = {name: getattr(found, name) for name in _FIGURES}
    points = [
        {name: values[index] for name, values in columns.items() if values} for index in range(len(columns["bpp"]))
    ]
    label = f"{found.label} (published)" if found.label in taken else found.label
    return Curve(found.name, label, tuple(points), f"{found.source}. {found.caveat}".strip())


_FIGURES = ("bpp", "psnr", "ms_ssim", "encode_s", "decode_s")


def _apart(name: str, taken: Counter[str], file: str) -> str:
    return f"{name} ({file})" if taken[name] > 1 else name


def _other_pictures(results: Mapping[str, Results]) -> list[str]:
    first, *others = results.items()
    return [
        f"{file} was measured on other pictures than {first[0]}: their curves cannot be compared with each other"
        for file, one in others
        if one.pictures.digest != first[1].pictures.digest
    ]
