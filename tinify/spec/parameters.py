"""The values of a spec: nodes to typed values, and the top-level ``params`` with what presets and callers set."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final

from tinify.plugin import MultipleOf, Parameter, Range
from tinify.spec.diagnostics import Diagnostics
from tinify.spec.expressions import ExpressionError, UnknownValue, evaluate
from tinify.spec.reader import Node

WRONG: Final[Any] = type("Wrong", (), {"__repr__": lambda _: "WRONG"})()
TYPES = {"int": int, "float": float, "bool": bool, "list[int]": list[int], "list[float]": list[float]}
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_KEYS = ("type", "default", "min", "max", "multiple_of", "help")


def suggest(word: str, known: Mapping[str, Any] | tuple[str, ...]) -> str:
    """A hint for somebody who wrote ``word`` where one of ``known`` was wanted."""
    near = get_close_matches(word, [*known], 1, 0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"there are: {', '.join(known)}" if known else "there are none"


def value_of(node: Node, parameter: Parameter, names: Mapping[str, Any], what: str, diagnostics: Diagnostics) -> Any:
    """The typed value of a node, an expression where the type is not a string; ``WRONG`` after reporting an error."""
    try:
        if parameter.many and isinstance(node.value, list):
            single = Parameter(parameter.type, choices=parameter.choices, limits=parameter.limits)
            found = [value_of(child, single, names, what, diagnostics) for child in node.value]
            return WRONG if WRONG in found else found
        value = node.plain()
        expression = isinstance(value, str) and parameter.type is not str
        return parameter.convert(evaluate(value, names) if expression else value)
    except UnknownValue:
        pass
    except ExpressionError as error:
        where = node.location.moved(error.column + node.quoted)
        diagnostics.error("X001", where, f"{what}: {error.message}", error.hint)
    except ValueError as error:
        hint = (
            "use // for integer division"
            if isinstance(node.value, str) and "/" in node.value and "an integer" in str(error)
            else ""
        )
        diagnostics.error("T001", node.location, f"{what}: {error}", hint)
    return WRONG


def is_name(name: Any) -> bool:
    """Whether expressions can use a name."""
    return (
        isinstance(name, str)
        and bool(_NAME.fullmatch(name))
        and not keyword.iskeyword(name)
        and name not in ("true", "false", "null", "type", *TYPES)
    )


def read_defaults(params: Node | None) -> dict[str, Node]:
    """The node of every default among declared parameters."""
    found: dict[str, Node] = {}
    for name, node in params.mapping.items() if params else ():
        if isinstance(node.value, dict):
            found |= {name: node.value["default"]} if "default" in node.value else {}
        elif not _is_type(node):
            found[name] = node
    return found


def _is_type(node: Node) -> bool:
    """Whether a parameter is declared by its type alone, as in ``c: int``."""
    return isinstance(node.value, str) and not node.quoted and node.value in TYPES


def read_parameters(params: Node | None, diagnostics: Diagnostics) -> dict[str, Parameter]:
    """The declared parameters of a spec; a default that is an expression stays ``REQUIRED`` here."""
    if params is None:
        return {}
    if not isinstance(params.value, dict):
        diagnostics.error("N002", params.location, "params is a mapping of names", "write params: {N: 128}")
    found = {}
    for name, node in params.mapping.items():
        if not is_name(name):
            diagnostics.error(
                "P004", params.keys[name], f"{name!r} cannot be a parameter's name", "use letters, digits and _"
            )
        found[name] = _read_parameter(name, node, diagnostics)
    return found


def _read_parameter(name: str, node: Node, diagnostics: Diagnostics) -> Parameter:
    if _is_type(node):
        return Parameter.of(TYPES[str(node.value)])
    if not isinstance(node.value, dict):
        simple = (
            type(node.value)
            if isinstance(node.value, bool | float)
            else list[int]
            if isinstance(node.value, list)
            else int
        )
        return Parameter.of(simple)
    for key in node.value:
        if key not in _KEYS:
            diagnostics.error("P001", node.keys[key], f"a parameter has no key {key!r}", suggest(key, _KEYS))
    options = {key: child.plain() for key, child in node.value.items()}
    kind = options.get("type", "int")
    if not isinstance(kind, str) or kind not in TYPES:
        diagnostics.error(
            "T002", node.value["type"].location, f"unknown type {kind!r}", suggest(str(kind), tuple(TYPES))
        )
        kind = "int"
    limits: list[Range | MultipleOf] = []
    numbers = {key: options[key] for key in ("min", "max", "multiple_of") if options.get(key) is not None}
    for key, bound in numbers.items():
        if (
            isinstance(bound, bool)
            or not isinstance(bound, int | float)
            or (key == "multiple_of" and not _positive(bound))
        ):
            diagnostics.error(
                "T001", node.value[key].location, f"params.{name}.{key}: expected a number, got {bound!r}"
            )
        elif key == "multiple_of":
            limits.append(MultipleOf(bound))
        else:
            limits.append(Range(bound) if key == "min" else Range(None, bound))
    parameter = Parameter.of(TYPES[kind])
    return Parameter(parameter.type, parameter.many, limits=tuple(limits), help=str(options.get("help", "")))


def _positive(value: Any) -> bool:
    return isinstance(value, int) and value > 0


def resolve(
    declared: Mapping[str, Parameter],
    defaults: Mapping[str, Node],
    chosen: Mapping[str, Node],
    diagnostics: Diagnostics,
    spec: Node,
    known: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The value of every parameter: what was chosen, else the default, which may use those before it and ``known``.

    A value in error is None here, and so are those that need it.
    """
    names: dict[str, Any] = {}
    for name, parameter in declared.items():
        node = chosen.get(name) or defaults.get(name)
        names[name] = None
        if node is None:
            hint = f"pass {name}=..., or choose a preset that sets it"
            diagnostics.error("P002", spec.keys.get("params", spec.location), f"parameter {name!r} has no value", hint)
            continue
        value = value_of(node, parameter, {**(known or {}), **names}, f"parameter {name}", diagnostics)
        names[name] = None if value is WRONG else value
    return names
