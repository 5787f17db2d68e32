"""Elaboration: nodes to the canonical form, with names looked up, values filled in and input channels inferred."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tinify.plugin import REQUIRED, Component, Cost, Parameter, Sig
from tinify.registry import Registry
from tinify.spec.define import Definition
from tinify.spec.diagnostics import Diagnostics
from tinify.spec.parameters import WRONG, is_name, resolve, suggest, value_of
from tinify.spec.reader import MAX_NODES, Node
from tinify.spec.shapes import Slots

MAX_REPEAT = 256
_WITH_INPUT = ("layer", "transform", "entropy_model")
_REPEAT = Parameter(int)

Canonical = dict[str, Any] | list[dict[str, Any]]
Inputs = tuple[Sig | None, ...] | None  # None: not known, because of an error before
Seen = tuple[tuple[Sig | None, ...], Sig, Cost | None]


class Elaborator:
    """Turns nodes into canonical dicts; ``stride`` becomes what a picture's sides must be multiples of.

    ``seen`` keeps the inputs, output and cost of every canonical dict, by its identity.
    """

    def __init__(
        self,
        registry: Registry,
        names: Mapping[str, Any],
        diagnostics: Diagnostics,
        definitions: Mapping[str, Definition] | None = None,
    ) -> None:
        self.registry, self.diagnostics = registry, diagnostics
        self.globals = self.names = names
        self.definitions = definitions or {}
        self.seen: dict[int, Seen] = {}
        self.stride = 1
        self._visited = 0
        self._using: tuple[str, ...] = ()

    def model(self, node: Node) -> dict[str, Any]:
        """The canonical form of the root node; raises what was reported here and before."""
        canonical, _ = self.build(node, "model", None)
        self.diagnostics.check()
        assert isinstance(canonical, dict)
        return canonical

    def build(self, node: Node, kind: str, inputs: Inputs) -> tuple[Canonical, Sig | None]:
        """The canonical form of one node in a place for ``kind``, and its output, None if that is not known."""
        self._visited += 1
        if self._visited > MAX_NODES:
            self.diagnostics.fatal("N005", node.location, f"the model has more than {MAX_NODES} parts")
        value = node.value
        if isinstance(value, str):
            return self._component(Node({"type": node}, node.location, {"type": node.location}), kind, inputs)
        if kind == "transform" and isinstance(value, list):
            return self._sequence(value, inputs)
        if kind == "transform" and isinstance(value, dict) and "repeat" in value:
            return self._repeat(node, inputs)
        if isinstance(value, dict) and "use" in value:
            return self._use(node, kind, inputs)
        if isinstance(value, dict) and "type" in value:
            return self._component(node, kind, inputs)
        article = "an" if kind[0] in "aeiou" else "a"
        hint = f"write the name of {article} {kind}, or {{type: NAME, ...}}"
        hint += ", or a list of these" if kind == "transform" else ""
        got = "a list" if isinstance(value, list) else "nothing" if value is None else repr(value)
        got = "a mapping without `type`" if isinstance(value, dict) else got
        self.diagnostics.error("N001", node.location, f"expected {article} {kind}, got {got}", hint)
        return {}, None

    @contextmanager
    def scope(self, names: Mapping[str, Any]) -> Iterator[None]:
        """Lets expressions see other names for a while; a name that is None is in error, or not known yet."""
        kept, self.names = self.names, names
        try:
            yield
        finally:
            self.names = kept

    def _sequence(self, nodes: list[Node], inputs: Inputs) -> tuple[list[dict[str, Any]], Sig | None]:
        parts: list[dict[str, Any]] = []
        for node in nodes:
            canonical, output = self.build(node, "transform", inputs)
            parts += canonical if isinstance(canonical, list) else [canonical]
            inputs = None if output is None else (output,)
        return parts, inputs[0] if inputs else None

    def _repeat(self, node: Node, inputs: Inputs) -> tuple[Canonical, Sig | None]:
        form = "write {repeat: 3, do: NODE}, or {repeat: 3, as: i, do: NODE}"
        for key in node.mapping.keys() - {"repeat", "as", "do"}:
            self.diagnostics.error("N003", node.keys[key], f"repeat has no key {key!r}", form)
        times = value_of(node.mapping["repeat"], _REPEAT, self.names, "repeat", self.diagnostics)
        body, index = node.mapping.get("do"), node.mapping.get("as")
        if body is None:
            self.diagnostics.error("N003", node.location, "repeat needs `do`", form)
            return [], None
        name = index.plain() if index else ""
        if index and not is_name(name):
            self.diagnostics.error("N003", index.location, f"`as` names the count of the repeat, got {name!r}", form)
            name = ""
        if times is not WRONG and not 0 <= times <= MAX_REPEAT:
            where = node.mapping["repeat"].location
            self.diagnostics.error("N004", where, f"repeat is {times}, allowed are 0 to {MAX_REPEAT}")
            times = WRONG
        if times is WRONG or times == 0:
            with self.scope({**self.names, name: None}):
                self.build(body, "transform", None)
            return [], inputs[0] if inputs and times == 0 else None
        parts: list[dict[str, Any]] = []
        for turn in range(times):
            with self.scope({**self.names, name: turn} if name else self.names):
                canonical, output = self._sequence([body], inputs)
            parts += canonical
            inputs = None if output is None else (output,)
        return parts, inputs[0] if inputs else None

    def _use(self, node: Node, kind: str, inputs: Inputs) -> tuple[Canonical, Sig | None]:
        form = "write {use: NAME}, or {use: NAME, with: {c: N}}"
        for key in node.mapping.keys() - {"use", "with"}:
            self.diagnostics.error("D003", node.keys[key], f"use has no key {key!r}", form)
        called = node.mapping["use"]
        name = called.plain()
        definition = self.definitions.get(name) if isinstance(name, str) else None
        if definition is None:
            hint = suggest(str(name), tuple(self.definitions)) if self.definitions else "this spec has no `define`"
            self.diagnostics.error("D001", called.location, f"no block {name!r} is defined", hint)
            return {}, None
        if name in self._using:
            chain = " -> ".join([*self._using, name])
            hint = "for several copies write {repeat: 3, do: NODE}"
            self.diagnostics.error("D002", called.location, f"a block cannot use itself: {chain}", hint)
            return {}, None
        names = {**self.globals, **self._arguments(node, name, definition, form)}
        self._using, before = (*self._using, name), self._using
        with self.scope(names):
            made = self.build(definition.body, kind, inputs)
        self._using = before
        return made

    def _arguments(self, node: Node, name: str, definition: Definition, form: str) -> dict[str, Any]:
        """The value of every parameter of a block: arguments see the caller's names, defaults the spec's."""
        given = node.mapping.get("with", Node({}, node.location))
        if not isinstance(given.value, dict):
            self.diagnostics.error("D003", given.location, f"`with` is a mapping, got {given.plain()!r}", form)
        for key in given.mapping.keys() - definition.params.keys():
            hint = suggest(key, definition.params)
            self.diagnostics.error("P001", given.keys[key], f"block {name!r} has no parameter {key!r}", hint)
        known: dict[str, Any] = {}
        for key, parameter in definition.params.items():
            if key in given.mapping:
                known[key] = value_of(given.mapping[key], parameter, self.names, f"{name}.{key}", self.diagnostics)
            elif key not in definition.defaults:
                hint = f"write {{use: {name}, with: {{{key}: ...}}}}"
                self.diagnostics.error("P002", node.location, f"block {name!r} needs {key!r}", hint)
                known[key] = WRONG
        known = {key: None if value is WRONG else value for key, value in known.items()}
        rest = {key: parameter for key, parameter in definition.params.items() if key not in known}
        return known | resolve(rest, definition.defaults, {}, self.diagnostics, node, {**self.globals, **known})

    def _component(self, node: Node, kind: str, inputs: Inputs) -> tuple[Canonical, Sig | None]:
        name = node.mapping["type"]
        kinds = ("layer", "transform") if kind == "transform" else (kind,)
        part = self.registry.find(kinds, name.value) if isinstance(name.value, str) else None
        if part is None:
            shown = name.plain()
            hint = self.registry.hint(kinds, shown) if isinstance(shown, str) else f"`type` is the name of a {kind}"
            self.diagnostics.error("R001", name.location, f"unknown {kind} {shown!r}", hint)
            return {}, None
        if part.deprecated:
            note = f"{name.location}: {part} is deprecated: {part.deprecated}"
            warnings.warn(note, FutureWarning, stacklevel=2)
        values = self._values(node, part)
        canonical: dict[str, Any] = {"type": part.name, "version": part.version, "kind": part.kind}
        if kind == "model" and values is not None:
            inputs = (Sig(values.get("channels", 3)),)
        if part.kind in _WITH_INPUT and inputs and inputs[0]:
            canonical["in"] = inputs[0].channels
        canonical |= values or {}
        slots = Slots(self, node, part, values, canonical)
        made = None if values is None or inputs is None else slots.run(inputs)
        slots.finish()
        if made is None or inputs is None:
            return canonical, None
        self.seen[id(canonical)] = inputs, *made
        return canonical, made[0]

    def _values(self, node: Node, part: Component) -> dict[str, Any] | None:
        """Every parameter's value, None if any is wrong."""
        values = {}
        for key in node.mapping:
            if key not in part.params and key not in part.slots and key != "type":
                hint = suggest(key, (*part.params, *part.slots))
                if set(key) & set("()[]{}"):
                    hint = (
                        "this looks like half of an expression: inside { } and [ ], quote values that contain , [ ] { }"
                    )
                self.diagnostics.error("P001", node.keys[key], f"{part.name} has no parameter {key!r}", hint)
                values[key] = WRONG
        for key, parameter in part.params.items():
            if key in node.mapping:
                values[key] = value_of(node.mapping[key], parameter, self.names, f"{part.name}.{key}", self.diagnostics)
            elif parameter.default is not REQUIRED:
                values[key] = parameter.convert(parameter.default)
            else:
                hint = f"{key} is {parameter}"
                self.diagnostics.error("P002", node.mapping["type"].location, f"{part.name} needs {key!r}", hint)
                values[key] = WRONG
        return None if WRONG in values.values() else values
