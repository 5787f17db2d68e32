"""The parts of an architecture one by one: paths, shapes and costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tinify.plugin import Cost, Sig
from tinify.registry import get_registry
from tinify.spec.diagnostics import Diagnostics, Location
from tinify.spec.elaborate import Canonical, Elaborator, Seen
from tinify.spec.reader import Node, lift


@dataclass(frozen=True)
class PartRow:
    """One component of an architecture: where it is, what it is, and its shapes.

    ``path`` is that of the state dict, save that the children of a list have numbers.

    ``cost`` is its own, without that of its children; None where its declaration has no cost rule.
    """

    path: str
    kind: str
    type: str
    arguments: Mapping[str, Any]
    inputs: tuple[Sig | None, ...]
    output: Sig | None
    cost: Cost | None

    @property
    def shapes(self) -> str:
        """What goes in and comes out: ``"3ch@1/1 -> 8ch@1/2"``, "" for what has no shape."""
        entering = ", ".join("nothing" if sig is None else str(sig) for sig in self.inputs)
        return f"{entering} -> {self.output}" if entering else ""

    def __str__(self) -> str:
        arguments = ", ".join(f"{key}={value}" for key, value in self.arguments.items())
        return f"{self.type}({arguments})"


@dataclass(frozen=True)
class Part:
    """A component, or a sequence of them, elaborated by itself."""

    canonical: Canonical
    output: Sig | None
    rows: tuple[PartRow, ...]


def elaborate_part(kind: str, node: Any, *inputs: Sig | None) -> Part:
    """Elaborates one component outside a spec: a name, a mapping with ``type``, or a list for kind ``transform``.

    ``inputs`` are those of its shape rule. Raises :class:`~tinify.errors.SpecError`.

    >>> part = elaborate_part("transform", [{"type": "conv", "out": 8}, "gdn"], Sig(3))
    >>> str(part.output), [row.path for row in part.rows]
    ('8ch@1/2', ['0', '1'])
    """
    diagnostics = Diagnostics()
    elaborator = Elaborator(get_registry(), {}, diagnostics)
    node = node if isinstance(node, Node) else lift(node, Location(f"<{kind}>"))
    canonical, output = elaborator.build(node, kind, inputs)
    diagnostics.check()
    return Part(canonical, output, tuple(rows("", canonical, elaborator.seen)))


def rows(path: str, node: Canonical, seen: Mapping[int, Seen]) -> Iterator[PartRow]:
    """A row for every component of a canonical form, depth first."""
    if isinstance(node, list):
        for index, child in enumerate(node):
            yield from rows(_join(path, index), child, seen)
        return
    slots = get_registry().component(node["kind"], f"{node['type']}@{node['version']}").slots
    children = {key: value for key, value in node.items() if key in slots}
    skipped = {"type", "version", "kind", "in", *children}
    arguments = {key: value for key, value in node.items() if key not in skipped}
    inputs, output, cost = seen.get(id(node), ((), None, None))
    yield PartRow(path, node["kind"], node["type"], arguments, inputs, output, cost)
    for key, child in children.items():
        if slots[key].each:
            for index, element in enumerate(child["each"]):
                if element is not None:
                    yield from rows(_join(_join(path, key), index), element, seen)
        else:
            yield from rows(_join(path, key), child, seen)


def _join(path: str, name: object) -> str:
    return f"{path}.{name}" if path else str(name)
