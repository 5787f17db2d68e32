"""A checked architecture: the canonical form of a spec, its identity, and its JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tinify.plugin import Plugin
from tinify.registry import Registry, get_registry
from tinify.spec.diagnostics import DiagnosedSpecError, Diagnostics, Location
from tinify.spec.elaborate import Elaborator
from tinify.spec.emit import to_yaml
from tinify.spec.parts import PartRow, rows
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
_PLUGIN = ("namespace", "distribution", "version")


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
    _rows: tuple[PartRow, ...] = field(default=(), compare=False, repr=False)

    def parts(self) -> list[PartRow]:
        """Every component with its path, shapes and cost, depth first; the model itself has the path ""."""
        return list(self._rows)

    @property
    def plugins(self) -> list[Plugin]:
        """The third-party plugins whose components it uses, by namespace."""
        registry, found = get_registry(), {}
        for row in self._rows:
            provider = registry.component(row.kind, row.type).provider
            if provider and not provider.at_home:
                found[provider.namespace] = provider
        return [found[namespace] for namespace in sorted(found)]

    @property
    def channels(self) -> int:
        """The channels of the pictures that it takes."""
        return int(self.model.get("channels", 3))

    @property
    def id(self) -> str:
        """16 hexadecimal digits that two architectures share only if they are the same model, whatever their names."""
        return hashlib.sha256(b"tinify-spec-1\0" + _dumps(self.model).encode()).hexdigest()[:16]

    def to_yaml(self) -> str:
        """The architecture as a spec without parameters: every value written out, every component's version pinned."""
        training = {"training": dict(self.training)} if self.training else {}
        return to_yaml({"tinify": 1, "name": self.name, **training, "model": _bare(self.model)})

    def to_json(self) -> str:
        """The architecture as canonical JSON, which :meth:`from_json` reads, with the plugins that it needs."""
        needs = [{key: getattr(plugin, key) for key in _PLUGIN} for plugin in self.plugins]
        content = {key: getattr(self, key) for key in _FIELDS}
        return _dumps({"tinify": 1, **content, **({"plugins": needs} if needs else {})})

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
        needs = data.pop("plugins", [])
        for key in data.keys() ^ {"tinify", *_FIELDS}:
            diagnostics.error("S010", where, f"{'unknown' if key in data else 'missing'} field {key!r}")
        for key, types in _FIELDS.items():
            if key in data and not isinstance(data[key], types):
                diagnostics.error("S010", where, f"field {key!r} cannot be {data[key]!r}")
        _check_plugins(needs, get_registry(), diagnostics, where)
        diagnostics.check()
        elaborator = Elaborator(get_registry(), {}, diagnostics)
        try:
            model = elaborator.model(lift(_bare(data["model"]), where))
        except DiagnosedSpecError:
            _blame_releases(needs, get_registry(), diagnostics, where)
            diagnostics.check()
            raise
        difference = _difference(data["model"], model, "model")
        if difference:
            hint = "install the releases of tinify-codec and of the plugins that it was made with"
            diagnostics.fatal("R002", where, f"not what the installed components make of it: {difference}", hint)
        fields = {key: data[key] for key in _FIELDS}
        return cls(**fields, stride=elaborator.stride, _rows=tuple(rows("", model, elaborator.seen)))


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


def _check_plugins(needs: Any, registry: Registry, diagnostics: Diagnostics, where: Location) -> None:
    """Reports the plugins that an architecture needs and that are not there, with what to install."""
    if not isinstance(needs, list) or not all(
        isinstance(need, dict) and need.keys() == set(_PLUGIN) and all(isinstance(word, str) for word in need.values())
        for need in needs
    ):
        diagnostics.error("S010", where, f"field 'plugins' cannot be {needs!r}")
        return
    for need in needs:
        wanted = Plugin(**need)
        if any(known.namespace == wanted.namespace and known.status == "ok" for known in registry.plugins):
            continue
        reason, hint = registry.missing(f"{wanted.namespace}/"), f"pip install {wanted.distribution}=={wanted.version}"
        if wanted.in_process:
            hint = f"it was registered by hand: call tinify.register(..., namespace={wanted.namespace!r}) first"
        elif " is disabled: " in reason:
            hint = ""
        diagnostics.error("R003", where, f"this model needs {wanted}: {reason}", hint)


def _blame_releases(needs: Any, registry: Registry, diagnostics: Diagnostics, where: Location) -> None:
    """Reports the plugins that are there in another release than an architecture was made with."""
    for wanted in (Plugin(**need) for need in needs):
        for known in registry.plugins:
            if known.namespace == wanted.namespace and known.version != wanted.version:
                hint = f"pip install {wanted.distribution}=={wanted.version}"
                diagnostics.error("R003", where, f"this model was made with {wanted}; installed is {known}", hint)


def _bare(node: Any) -> Any:
    """A canonical node without what elaboration adds, its version pinned."""
    if isinstance(node, dict):
        bare = {key: _bare(child) for key, child in node.items() if key not in _IMPLIED}
        if type(node.get("version")) is int and isinstance(node.get("type"), str):
            bare["type"] = f"{node['type']}@{node['version']}"
        return bare
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
