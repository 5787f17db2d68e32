"""Elaboration: nodes to the canonical form, with names looked up, values filled in and input channels inferred."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

from tinify.errors import PluginError, TinifyError
from tinify.plugin import REQUIRED, Component, Parameter, ShapeError, Sig, Slot
from tinify.registry import Registry
from tinify.spec.diagnostics import Diagnostics, Location
from tinify.spec.parameters import WRONG, suggest, value_of
from tinify.spec.reader import MAX_NODES, Node

MAX_REPEAT, MAX_STRIDE, MAX_CHANNELS = 256, 4096, 65536
_WITH_INPUT = ("layer", "transform", "entropy_model")
_REPEAT = Parameter(int)

Canonical = dict[str, Any] | list[dict[str, Any]]
Inputs = tuple[Sig | None, ...] | None  # None: not known, because of an error before


class _Unknown(Exception):  # noqa: N818
    """Leaves a shape rule whose child has no known output."""


class Elaborator:
    """Turns nodes into canonical dicts; ``stride`` becomes what a picture's sides must be multiples of."""

    def __init__(self, registry: Registry, names: Mapping[str, Any], diagnostics: Diagnostics) -> None:
        self.registry, self.names, self.diagnostics = registry, names, diagnostics
        self.stride = 1
        self.visited = 0

    def model(self, node: Node) -> dict[str, Any]:
        """The canonical form of the root node; raises what was reported here and before."""
        canonical, _ = self.build(node, "model", None)
        self.diagnostics.check()
        assert isinstance(canonical, dict)
        return canonical

    def build(self, node: Node, kind: str, inputs: Inputs) -> tuple[Canonical, Sig | None]:
        """The canonical form of one node in a place for ``kind``, and its output, None if that is not known."""
        self.visited += 1
        if self.visited > MAX_NODES:
            self.diagnostics.fatal("N005", node.location, f"the model has more than {MAX_NODES} parts")
        value = node.value
        if isinstance(value, str):
            return self.component(Node({"type": node}, node.location, {"type": node.location}), kind, inputs)
        if kind == "transform" and isinstance(value, list):
            return self.sequence(value, inputs)
        if kind == "transform" and isinstance(value, dict) and "repeat" in value:
            return self.repeat(node, inputs)
        if isinstance(value, dict) and "type" in value:
            return self.component(node, kind, inputs)
        article = "an" if kind[0] in "aeiou" else "a"
        hint = f"write the name of {article} {kind}, or {{type: NAME, ...}}"
        hint += ", or a list of these" if kind == "transform" else ""
        got = (
            "a mapping without `type`"
            if isinstance(value, dict)
            else "a list"
            if isinstance(value, list)
            else repr(value)
        )
        self.diagnostics.error("N001", node.location, f"expected {article} {kind}, got {got}", hint)
        return {}, None

    def sequence(self, nodes: list[Node], inputs: Inputs) -> tuple[Canonical, Sig | None]:
        parts: list[dict[str, Any]] = []
        for node in nodes:
            canonical, output = self.build(node, "transform", inputs)
            parts += canonical if isinstance(canonical, list) else [canonical]
            inputs = None if output is None else (output,)
        return parts, inputs[0] if inputs else None

    def repeat(self, node: Node, inputs: Inputs) -> tuple[Canonical, Sig | None]:
        for key in node.mapping.keys() - {"repeat", "do"}:
            self.diagnostics.error("N003", node.keys[key], f"repeat has no key {key!r}", "write {repeat: 3, do: NODE}")
        times = value_of(node.mapping["repeat"], _REPEAT, self.names, "repeat", self.diagnostics)
        body = node.mapping.get("do")
        if body is None:
            self.diagnostics.error("N003", node.location, "repeat needs `do`", "write {repeat: 3, do: NODE}")
            return [], None
        if times is not WRONG and not 0 <= times <= MAX_REPEAT:
            where = node.mapping["repeat"].location
            self.diagnostics.error("N004", where, f"repeat is {times}, allowed are 0 to {MAX_REPEAT}")
            times = WRONG
        if times is WRONG or times == 0:
            self.build(body, "transform", None)
            return [], inputs[0] if inputs and times == 0 else None
        return self.sequence([body] * times, inputs)

    def component(self, node: Node, kind: str, inputs: Inputs) -> tuple[Canonical, Sig | None]:
        name = node.mapping["type"]
        kinds = ("layer", "transform") if kind == "transform" else (kind,)
        part = self.registry.find(kinds, name.value) if isinstance(name.value, str) else None
        if part is None:
            shown = name.plain()
            hint = self.registry.hint(kinds, shown) if isinstance(shown, str) else f"`type` is the name of a {kind}"
            self.diagnostics.error("R001", name.location, f"unknown {kind} {shown!r}", hint)
            return {}, None
        if part.deprecated:
            warnings.warn(
                f"{name.location}: {part.kind} {part.name!r} is deprecated: {part.deprecated}",
                FutureWarning,
                stacklevel=2,
            )
        values = self.values(node, part)
        canonical: dict[str, Any] = {"type": part.name, "version": part.version, "kind": part.kind}
        if kind == "model" and values is not None:
            inputs = (Sig(values.get("channels", 3)),)
        if part.kind in _WITH_INPUT and inputs and inputs[0]:
            canonical["in"] = inputs[0].channels
        canonical |= values or {}
        return canonical, self.children(node, part, values, inputs, canonical)

    def values(self, node: Node, part: Component) -> dict[str, Any] | None:
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

    def children(
        self, node: Node, part: Component, values: dict[str, Any] | None, inputs: Inputs, canonical: dict[str, Any]
    ) -> Sig | None:
        """Fills the slots by running the shape rule; returns its result, None if that is not known."""
        waiting = {slot: self.child(node, part, slot, place) for slot, place in part.slots.items()}

        def slots(slot: str, *inputs: Sig | None) -> Sig:
            if slot not in waiting:
                fault = "twice" if slot in part.slots else "which it has not"
                raise PluginError(f"the shape rule of {part.kind} {part.name!r} asks for slot {slot!r}, {fault}")
            child = waiting.pop(slot)
            if child is None:
                raise _Unknown
            canonical[slot], output = self.build(child, part.slots[slot].kind, inputs)
            if output is None:
                raise _Unknown
            return output

        output = None
        if values is not None and inputs is not None:
            output = self.shape(node, part, values, slots, inputs)
            if output is not None and waiting:
                raise PluginError(f"the shape rule of {part.kind} {part.name!r} leaves out the slots {sorted(waiting)}")
        for slot, child in waiting.items():  # not reached because of an error: look for more errors in them
            if child is not None:
                self.build(child, part.slots[slot].kind, None)
        return output

    def child(self, node: Node, part: Component, slot: str, place: Slot) -> Node | None:
        if slot in node.mapping:
            return node.mapping[slot]
        if place.default is not None:
            return Node(place.default, node.location)
        self.diagnostics.error(
            "P003", node.mapping["type"].location, f"{part.name} needs {slot!r}", f"it takes a {place.kind}"
        )
        return None

    def shape(
        self, node: Node, part: Component, values: dict[str, Any], slots: Any, inputs: tuple[Sig | None, ...]
    ) -> Sig | None:
        frozen = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
        rule: Any = part.declaration(**frozen)
        with_slots = part.slots or part.kind in ("latent_codec", "model")
        try:
            output = rule.shape(slots, *inputs) if with_slots else rule.shape(*inputs)
        except _Unknown:
            return None
        except ShapeError as error:
            at = node.mapping.get(error.slot or "", node)
            self.diagnostics.error("C001", _producer(at), f"{part.name}: {error.message}")
            return None
        except TinifyError:
            raise
        except Exception as error:
            raise PluginError(
                f"the shape rule of {part.kind} {part.name!r} ({part.provider}) failed: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(output, Sig):
            raise PluginError(
                f"the shape rule of {part.kind} {part.name!r} ({part.provider}) returned {output!r}, expected a Sig"
            )
        stride = math.lcm(self.stride, output.stride.numerator)
        if not 1 <= output.channels <= MAX_CHANNELS or max(stride, output.stride.denominator) > MAX_STRIDE:
            limits = f"allowed are 1 to {MAX_CHANNELS} channels and strides up to {MAX_STRIDE}"
            self.diagnostics.error("C002", node.location, f"{part.name} ends at {output}", limits)
            return None
        self.stride = stride
        return output


def _producer(node: Node) -> Location:
    """The place of the part that makes a branch's output: its last layer."""
    while isinstance(node.value, list) and node.value:
        node = node.value[-1]
    return node.location
