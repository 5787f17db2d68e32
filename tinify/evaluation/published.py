"""Published rate-distortion curves of the field, by name, with where they come from and what to mind."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from tinify.errors import UnknownNameError

#: The digest that the 24 pictures have on which the curves were measured (:mod:`tinify.evaluation.pictures`).
KODAK = "fa8e1bb8dd8760b4"


@dataclass(frozen=True)
class Reference:
    """A published curve on the 24 Kodak pictures: means over the pictures, each list by rising rate.

    ``ms_ssim``, ``encode_s`` and ``decode_s`` are empty where they were not published; seconds are those of the
    publication's machine. ``caveat`` says what to mind in a comparison.
    """

    name: str
    label: str
    source: str
    bpp: tuple[float, ...]
    psnr: tuple[float, ...] = ()
    ms_ssim: tuple[float, ...] = ()
    encode_s: tuple[float, ...] = ()
    decode_s: tuple[float, ...] = ()
    caveat: str = ""


def references() -> dict[str, Reference]:
    """Every published curve, by name.

    >>> round(references()["vtm"].psnr[2], 2)
    31.2
    """
    return dict(_all())


def reference(name: str) -> Reference:
    """The curve of a name; :class:`~tinify.errors.UnknownNameError` says what there is."""
    if name not in _all():
        raise UnknownNameError.among("published curve", name, _all())
    return _all()[name]


@cache
def _all() -> dict[str, Reference]:
    found = json.loads((files("tinify.evaluation") / "published.json").read_text(encoding="utf-8"))
    return {name: Reference(name, **_tuples(one)) for name, one in found["curves"].items()}


def _tuples(found: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in found.items()}
