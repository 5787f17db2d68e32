"""Shape rules at work: they drive the slots of a component, and say what comes out of it and what it costs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tinify.errors import PluginError, TinifyError
from tinify.plugin import Component, Cost, ShapeError, Sig, Slot
from tinify.spec.diagnostics import Location
from tinify.spec.reader import Node

if TYPE_CHECKING:
    from tinify.spec.elaborate import Elaborator

MAX_STRIDE, MAX_CHANNELS = 4096, 65536
# Kinds without a shape: no shape rule asks for them.
_SHAPELESS = ("coder", "loss")

Values = dict[str, Any]


class _Unknown(Exception):  # noqa: N818
    """Leaves a shape rule whose child has no known output."""


class Slots:
    """The children of one component: its shape rule calls this for each, with the inputs that the child gets."""

    def __init__(
        self, elaborator: Elaborator, node: Node, part: Component, values: Values | None, canonical: Values
    ) -> None:
        self._elaborator, self._node, self._part = elaborator, node, part
        self._values, self._canonical = values, canonical
        self._complete = False
        self._waiting: dict[str, Node | None] = {}
        self._each: dict[str, dict[int, Node]] = {}  # the children by the index of their element
        for slot, place in part.slots.items():
            child = self._child(slot, place)
            if place.each is None:
                self._waiting[slot] = child
            else:
                self._each[slot] = self._spread(slot, place.each, child)

    def __call__(self, slot: str, *inputs: Sig | None, index: int | None = None) -> Sig:
        place = self._part.slots.get(slot)
        if place is None:
            raise self._fault(slot, "which it has not")
        if place.each is not None:
            return self._element(slot, place, inputs, index)
        if slot not in self._waiting or index is not None:
            raise self._fault(slot, "twice" if index is None else f"for element {index}, but it is one child")
        child = self._waiting.pop(slot)
        if child is None and place.optional:
            return inputs[0] or Sig(1)
        if child is None:
            raise _Unknown
        self._canonical[slot], output = self._elaborator.build(child, place.kind, inputs)
        return _known(output)

    def run(self, inputs: tuple[Sig | None, ...]) -> tuple[Sig, Cost | None] | None:
        """What the shape rule and the cost rule say, None after an error."""
        assert self._values is not None
        part = self._part
        frozen = {key: tuple(value) if isinstance(value, list) else value for key, value in self._values.items()}
        rule: Any = part.declaration(**frozen)
        with_slots = part.slots or part.kind in ("latent_codec", "model")
        try:
            output = rule.shape(self, *inputs) if with_slots else rule.shape(*inputs)
            self._complete = True
            cost = rule.cost(*inputs) if hasattr(rule, "cost") else None
        except _Unknown:
            return None
        except ShapeError as error:
            at = self._node.mapping.get(error.slot or "", self._node)
            self._elaborator.diagnostics.error("C001", _producer(at), f"{part.name}: {error.message}")
            return None
        except TinifyError:
            raise
        except Exception as error:
            raise PluginError(
                f"the shape rule of {part} ({part.provider}) failed: {type(error).__name__}: {error}"
            ) from error
        for made, kind, rule_name in ((output, Sig, "shape"), (cost or Cost(), Cost, "cost")):
            if not isinstance(made, kind):
                raise PluginError(
                    f"the {rule_name} rule of {part} ({part.provider}) returned {made!r}, expected a {kind.__name__}"
                )
        return (output, cost) if self._fits(output) else None

    def finish(self) -> None:
        """Elaborates what the shape rule did not ask for: parts without a shape, and branches not reached."""
        left = []
        for slot, child in self._waiting.items():
            kind = self._part.slots[slot].kind
            if child is not None and kind in _SHAPELESS:
                self._canonical[slot], _ = self._elaborator.build(child, kind, ())
            elif child is not None:
                left.append(slot)
                self._elaborator.build(child, kind, None)
        if left and self._complete:
            raise PluginError(f"the shape rule of {self._part} leaves out the slots {sorted(left)}")
        for slot, children in self._each.items():
            self._finish_each(slot, children)

    def _child(self, slot: str, place: Slot) -> Node | None:
        """What the spec says of a slot, None if that is nothing: an error, if the slot must be filled."""
        node, part = self._node, self._part
        if slot in node.mapping:
            return node.mapping[slot]
        if place.default is not None:
            return Node(place.default, node.location)
        if not place.optional:
            where = node.mapping["type"].location
            self._elaborator.diagnostics.error("P003", where, f"{part.name} needs {slot!r}", f"it takes a {place.kind}")
        return None

    def _spread(self, slot: str, each: str, child: Node | None) -> dict[int, Node]:
        """The children of a slot that stands for each element of a list: one template, or ``{each: [...]}``."""
        count = 1 if self._values is None else len(self._values[each])
        self._canonical[slot] = {"each": [None] * count}
        if child is None:
            return {}
        if "each" not in child.mapping:
            return dict.fromkeys(range(count), child)
        for key in child.mapping.keys() - {"each"}:
            self._wrong(child.keys[key], f"each has no key {key!r}", "write {each: [NODE, ...]}, or one NODE for all")
        listed = child.mapping["each"]
        nodes = listed.value if isinstance(listed.value, list) else []
        if self._values is not None and (len(nodes) != count or listed.value is not nodes):
            got = f"{len(nodes)} of them" if listed.value is nodes else repr(listed.plain())
            self._wrong(listed.location, f"{slot} has a child for each of the {count} {each}, got {got}")
        return {index: node for index, node in enumerate(nodes) if node.value is not None}

    def _element(self, slot: str, place: Slot, inputs: tuple[Sig | None, ...], index: int | None) -> Sig:
        made = self._canonical[slot]["each"]
        if index is None or not 0 <= index < len(made) or made[index] is not None:
            raise self._fault(slot, f"for element {index} of {len(made)}, or twice")
        child = self._each[slot].pop(index, None)
        if child is None:
            where = self._node.mapping.get(slot, self._node).location
            self._wrong(where, f"{slot} needs a child for element {index}", "null is for elements that have none")
            raise _Unknown
        with self._elaborator.scope(self._locals(place, index)):
            made[index], output = self._elaborator.build(child, place.kind, inputs)
        return _known(output)

    def _finish_each(self, slot: str, children: dict[int, Node]) -> None:
        place, written = self._part.slots[slot], self._node.mapping.get(slot)
        listed = written is not None and "each" in written.mapping
        asked = any(made is not None for made in self._canonical[slot]["each"])
        for index, child in children.items():
            if self._complete and listed:
                self._wrong(child.location, f"{slot} has no child for element {index}", "write null there")
            elif not asked:
                with self._elaborator.scope(self._locals(place, index)):
                    self._elaborator.build(child, place.kind, None)

    def _locals(self, place: Slot, index: int) -> Values:
        """The names that a child for one element sees: the element ``g`` and its index ``k`` too."""
        assert place.each is not None
        element = None if self._values is None else self._values[place.each][index]
        return {**self._elaborator.names, "g": element, "k": index if element is not None else None}

    def _fits(self, output: Sig) -> bool:
        """Whether tensors of that signature are of a usual size."""
        stride = math.lcm(self._elaborator.stride, output.stride.numerator)
        small = output.stride > 0 and max(stride, output.stride.denominator) <= MAX_STRIDE
        if not 1 <= output.channels <= MAX_CHANNELS or not small:
            limits = f"allowed are 1 to {MAX_CHANNELS} channels and strides up to {MAX_STRIDE}"
            where = self._node.location
            self._elaborator.diagnostics.error("C002", where, f"{self._part.name} ends at {output}", limits)
            return False
        self._elaborator.stride = stride
        return True

    def _wrong(self, where: Location, message: str, hint: str = "") -> None:
        self._elaborator.diagnostics.error("N006", where, message, hint)

    def _fault(self, slot: str, fault: str) -> PluginError:
        return PluginError(f"the shape rule of {self._part} asks for slot {slot!r}, {fault}")


def _known(output: Sig | None) -> Sig:
    if output is None:
        raise _Unknown
    return output


def _producer(node: Node) -> Location:
    """The place of the part that makes a branch's output: its last layer."""
    while isinstance(node.value, list) and node.value:
        node = node.value[-1]
    return node.location
