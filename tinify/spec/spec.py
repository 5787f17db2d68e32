"""A spec: one page of YAML that says which parts make a model."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from tinify.errors import UnknownNameError
from tinify.plugin import Parameter
from tinify.registry import get_registry
from tinify.spec.architecture import Architecture
from tinify.spec.define import read_definitions
from tinify.spec.diagnostics import Diagnostics, Location
from tinify.spec.elaborate import Elaborator
from tinify.spec.emit import to_yaml
from tinify.spec.merge import Source, load, open_file, open_name
from tinify.spec.parameters import read_defaults, read_parameters, resolve, suggest
from tinify.spec.parts import rows
from tinify.spec.reader import Node, lift

LANGUAGE = 1
_NAME = re.compile(r"([a-z][a-z0-9_]*/)?[a-z0-9][a-z0-9._-]*")
_KEYS = ("tinify", "name", "summary", "cite", "extends", "params", "presets", "training", "define", "model")


class Spec:
    """A spec that has been read and merged over the specs that it extends.

    Attributes: ``name``, ``summary``, ``cite``, ``text`` (its own YAML), ``parameters`` (name to
    :class:`~tinify.plugin.Parameter`), ``defaults`` (of those that have one), ``presets`` (name to its ``params`` and
    ``training``).

    >>> spec = Spec.load("mbt2018-mean")
    >>> architecture = spec.elaborate(preset="q1")
    >>> architecture.stride, dict(architecture.parameters)
    (64, {'N': 128, 'M': 192})
    >>> spec.elaborate(N=8, M=16).model["g_a"][0]
    {'type': 'conv', 'version': 1, 'kind': 'layer', 'in': 3, 'out': 8, 'kernel': 5, 'stride': 2}
    """

    def __init__(self, root: Node, sources: dict[str, str], text: str) -> None:
        self.root, self.text = root, text
        self._problems = Diagnostics(sources)
        self._check_top()
        self.name = self._word("name")
        self.summary = self._word("summary")
        self.cite = self._word("cite")
        self.parameters: dict[str, Parameter] = read_parameters(root.mapping.get("params"), self._problems)
        self.defaults: dict[str, Node] = read_defaults(root.mapping.get("params"))
        self.presets: dict[str, dict[str, Any]] = self._read_presets()
        self._definitions = read_definitions(root.mapping.get("define"), self._problems)

    @classmethod
    def load(cls, name_or_path: str | os.PathLike[str]) -> Spec:
        """The registered spec of that name, or the one in a file (a path that ends in .yaml or .yml, or a ``Path``).

        Raises :class:`~tinify.errors.UnknownNameError`, and :class:`~tinify.errors.SpecError` if the text, or that of a
        spec that it extends, cannot be read. What is wrong with the content is reported by :meth:`elaborate`, all at
        once.
        """
        path = os.fspath(name_or_path)
        if not isinstance(name_or_path, str) or path.endswith((".yaml", ".yml")):
            return cls._open(open_file(Path(path), path))
        spec = cls._open(open_name(path, get_registry()))
        if spec.name != path and not spec._problems.found:
            where = spec.root.mapping["name"].location
            spec._problems.error(
                "V003", where, f"this file must be named after its spec, got {spec.name!r}", f"write name: {path}"
            )
        return spec

    @classmethod
    def loads(cls, text: str, source: str = "<string>") -> Spec:
        """The spec in a text; ``source`` names it in errors."""
        return cls._open(Source(source, text))

    @classmethod
    def _open(cls, source: Source) -> Spec:
        root, sources = load(source, get_registry())
        return cls(root, sources, source.text)

    def elaborate(self, preset: str | None = None, **parameters: Any) -> Architecture:
        """The checked architecture, with a preset's parameters or the given ones (which win) in place of the defaults.

        Raises :class:`~tinify.errors.UnknownNameError` for a preset or parameter that the spec has not, and
        :class:`~tinify.errors.SpecError` with everything that is wrong with the spec.
        """
        if preset is not None and str(preset) not in self.presets:
            raise UnknownNameError.among(f"preset of {self.name}", str(preset), self.presets)
        for name in sorted(parameters.keys() - self.parameters.keys()):
            raise UnknownNameError.among(f"parameter of {self.name}", name, self.parameters)
        diagnostics = Diagnostics(self._problems.sources)
        diagnostics.extend(self._problems)
        chosen = dict(self._preset_nodes(preset))
        for name, value in parameters.items():
            label = f"{name}={value}"
            diagnostics.sources[label] = label
            chosen[name] = lift(list(value) if isinstance(value, tuple) else value, Location(label, 1, len(name) + 2))
        names = resolve(self.parameters, self.defaults, chosen, diagnostics, self.root)
        elaborator = Elaborator(get_registry(), names, diagnostics, self._definitions)
        if "model" not in self.root.mapping:
            diagnostics.fatal(
                "N002", self.root.location, "a spec needs `model`", "write it, or `extends: NAME` of a spec that has it"
            )
        model = elaborator.model(self.root.mapping["model"])
        training = self._training(self.root) | (self.presets[preset].get("training", {}) if preset else {})
        return Architecture(
            self.name, preset, names, training, model, elaborator.stride, tuple(rows("", model, elaborator.seen))
        )

    def to_yaml(self) -> str:
        """The spec as one that stands alone: YAML with what it extends merged in, which :meth:`loads` reads.

        >>> Spec.loads(Spec.load("mbt2018-mean").to_yaml()).elaborate().id == Spec.load("mbt2018-mean").elaborate().id
        True
        """
        plain = self.root.plain()
        return to_yaml({key: plain[key] for key in (*_KEYS, *plain) if key in plain and key != "extends"})

    def _check_top(self) -> None:
        root, problems = self.root, self._problems
        version = root.mapping.get("tinify")
        if version is None or type(version.value) is not int or version.value != LANGUAGE:
            newer = version is not None and type(version.value) is int and version.value > LANGUAGE
            where = version.location if version else root.location
            hint = "upgrade tinify to read it" if newer else f"write `tinify: {LANGUAGE}` first"
            got = f", got {version.plain()!r}" if version else ", and the spec does not say its own"
            problems.fatal("V001", where, f"this tinify reads spec language {LANGUAGE}{got}", hint)
        for key in root.mapping:
            if key not in _KEYS:
                problems.error("N002", root.keys[key], f"a spec has no key {key!r}", suggest(key, _KEYS))
        name = root.mapping.get("name")
        if name is None or not isinstance(name.value, str) or not _NAME.fullmatch(name.value):
            where = name.location if name else root.location
            got = f", got {name.plain()!r}" if name else ""
            problems.error(
                "V002", where, f"a spec needs a name of lower case letters, digits, . _ -{got}", "write `name: my-spec`"
            )

    def _word(self, key: str) -> str:
        node = self.root.mapping.get(key)
        if node is None or isinstance(node.value, str):
            return str(node.value).strip() if node else ""
        if key != "name":
            self._problems.error("T001", node.location, f"{key} is text, got {node.plain()!r}", "quote it")
        return ""

    def _read_presets(self) -> dict[str, dict[str, Any]]:
        self._training(self.root)
        presets = self._section(self.root, "presets")
        found = {}
        for name, node in presets.mapping.items():
            if not isinstance(node.value, dict):
                self._problems.error(
                    "N002", node.location, f"preset {name!r} is a mapping", "write {params: {...}, training: {...}}"
                )
            for key in node.mapping.keys() - {"params", "training"}:
                self._problems.error(
                    "N002", node.keys[key], f"a preset has no key {key!r}", suggest(key, ("params", "training"))
                )
            params = self._section(node, "params")
            for key in params.mapping.keys() - self.parameters.keys():
                self._problems.error(
                    "P001", params.keys[key], f"the spec has no parameter {key!r}", suggest(key, self.parameters)
                )
            found[name] = {"params": params.plain(), "training": self._training(node)}
        return found

    def _section(self, node: Node, key: str) -> Node:
        section = node.mapping.get(key, Node({}, node.location))
        if isinstance(section.value, dict):
            return section
        self._problems.error("N002", section.location, f"{key} is a mapping, got {section.plain()!r}")
        return Node({}, section.location)

    def _training(self, node: Node) -> dict[str, Any]:
        training: dict[str, Any] = self._section(node, "training").plain()
        return training

    def _preset_nodes(self, preset: str | None) -> dict[str, Node]:
        if preset is None:
            return {}
        node = self._section(self.root, "presets").mapping[preset]
        params = self._section(node, "params").mapping
        return {name: child for name, child in params.items() if name in self.parameters}
