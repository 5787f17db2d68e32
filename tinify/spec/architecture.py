"""A checked architecture: the canonical form of a spec, its identity, and its JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tinify.registry import get_registry
from tinify.spec.diagnostics import Diagnostics, Location
from tinify.spec.elaborate import Elaborator
from tinify.spec.reader import MAX_DEPTH, lift

MAX_JSON, MAX_LEVELS = 16 * 2**20, MAX_DEPTH + 8
_IMPLIED = ("version", "kind", "in")
_FIELDS: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "preset": (str, type(None)),
    "parameters": (dict,),
    "training": (dict,),
    "model": (dict,),
}


@dataclass(frozen=True)
class Architecture:
    """What a spec says once every name, value and shape is settled.

    ``model`` is the canonical form: for each component ``type``, ``version``, ``kind``, the input channels ``in``
    (layers, transforms, entropy models), every parameter and every slot, with sequences flattened to lists. ``stride``
    is what a picture's height and width must be multiples of. ``training`` holds the spec's advice on training and is
    not part of the identity.
    """

    name: str
    preset: str | None
    parameters: Mapping[str, Any]
    training: Mapping[str, Any]
    model: dict[str, Any]
    stride: int

    @property
    def channels(self) -> int:
        """The channels of the pictures that it takes."""
        return int(self.model.get("channels", 3))

    @property
    def id(self) -> str:
        """16 hexadecimal digits that two architectures share only if they are the same model, whatever their names."""
        return hashlib.sha256(b"tinify-spec-1\0" + _dumps(self.model).encode()).hexdigest()[:16]

    def to_json(self) -> str:
        """The architecture as canonical JSON, which :meth:`from_json` reads."""
        return _dumps({"tinify": 1, **{key: getattr(self, key) for key in _FIELDS}})

    @classmethod
    def from_json(cls, text: str, source: str = "<json>") -> Architecture:
        """Reads what :meth:`to_json` wrote, and checks it against the installed components.

        Raises :class:`~tinify.errors.SpecError` for anything else, ``source`` naming where the text came from.
        """
        diagnostics, where = Diagnostics(), Location(source)
        try:
            data = _loads(text)
        except (ValueError, RecursionError) as error:
            diagnostics.fatal("S000", where, f"not an architecture in JSON: {error}")
        if data.get("tinify") != 1 or type(data["tinify"]) is not int:
            hint = "upgrade tinify" if type(data.get("tinify")) is int else ""
            diagnostics.fatal(
                "V001", where, f"this tinify reads architectures of language 1, got {data.get('tinify')!r}", hint
            )
        for key in data.keys() ^ {"tinify", *_FIELDS}:
            diagnostics.error("S010", where, f"{'unknown' if key in data else 'missing'} field {key!r}")
        for key, types in _FIELDS.items():
            if key in data and not isinstance(data[key], types):
                diagnostics.error("S010", where, f"field {key!r} cannot be {data[key]!r}")
        diagnostics.check()
        elaborator = Elaborator(get_registry(), {}, diagnostics)
        model = elaborator.model(lift(_bare(data["model"]), where))
        difference = _difference(data["model"], model, "model")
        if difference:
            diagnostics.fatal("R002", where, f"not what the installed components make of it: {difference}")
        fields = {key: data[key] for key in _FIELDS}
        return cls(**fields, stride=elaborator.stride)


def _dumps(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _loads(text: str) -> dict[str, Any]:
    def constant(name: str) -> None:
        raise ValueError(f"{name} is not allowed")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError("a key occurs twice")
        return dict(pairs)

    if len(text) > MAX_JSON:
        raise ValueError(f"more than {MAX_JSON} characters")
    data = json.loads(text, parse_constant=constant, object_pairs_hook=unique)
    if not isinstance(data, dict):
        raise ValueError("expected an object")
    level: list[Any] = [data]
    for _ in range(MAX_LEVELS):
        level = [
            child
            for item in level
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, dict | list)
        ]
        if not level:
            return data
    raise ValueError(f"nested deeper than {MAX_LEVELS} levels")


def _bare(node: Any) -> Any:
    """A canonical node without what elaboration adds."""
    if isinstance(node, dict):
        return {key: _bare(child) for key, child in node.items() if key not in _IMPLIED}
    return [_bare(child) for child in node] if isinstance(node, list) else node


def _difference(given: Any, made: Any, path: str) -> str:
    """The first place where two canonical forms differ, "" if there is none."""
    if isinstance(given, dict) and isinstance(made, dict):
        pairs = [
            (f"{path}.{key}", given.get(key, ...), made.get(key, ...)) for key in sorted(given.keys() | made.keys())
        ]
    elif isinstance(given, list) and isinstance(made, list) and len(given) == len(made):
        pairs = [(f"{path}[{place}]", *items) for place, items in enumerate(zip(given, made, strict=True))]
    elif type(given) is type(made) and given == made:
        return ""
    else:
        shown = ["nothing" if value is ... else _short(value) for value in (given, made)]
        return f"{path} is {shown[0]}, expected {shown[1]}"
    return next((found for where, a, b in pairs if (found := _difference(a, b, where))), "")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
