"""``define``: named blocks with parameters, which ``use`` puts in many places."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tinify.plugin import Parameter
from tinify.spec.diagnostics import Diagnostics
from tinify.spec.parameters import is_name, read_defaults, read_parameters
from tinify.spec.reader import Node

_FORM = "write NAME: {params: {c: int}, do: NODE}"


@dataclass(frozen=True)
class Definition:
    """A block: its parameters, the defaults of those that have one, and the node that stands for it."""

    params: Mapping[str, Parameter]
    defaults: Mapping[str, Node]
    body: Node


def read_definitions(section: Node | None, diagnostics: Diagnostics) -> dict[str, Definition]:
    """The blocks of a spec's section ``define``, by name."""
    if section is None:
        return {}
    if not isinstance(section.value, dict):
        diagnostics.error("D003", section.location, "define is a mapping of blocks", _FORM)
    found = {}
    for name, node in section.mapping.items():
        where = section.keys[name]
        if not is_name(name):
            diagnostics.error("D003", where, f"{name!r} cannot be a block's name", "use letters, digits and _")
        if "do" not in node.mapping:
            diagnostics.error("D003", where, f"block {name!r} has no `do`", _FORM)
            continue
        for key in node.mapping.keys() - {"params", "do"}:
            diagnostics.error("D003", node.keys[key], f"a block has no key {key!r}", _FORM)
        params = node.mapping.get("params")
        found[name] = Definition(read_parameters(params, diagnostics), read_defaults(params), node.mapping["do"])
    return found
