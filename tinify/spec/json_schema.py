"""The spec language as a JSON Schema, for editors: what may be written with the plugins that are enabled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tinify.plugin import REQUIRED, SPEC_KINDS, Component, MultipleOf, Parameter, Range, Slot
from tinify.registry import Registry, get_registry
from tinify.spec.parameters import TYPES
from tinify.spec.spec import LANGUAGE

Schema = dict[str, Any]

_EXPRESSION: Schema = {"type": "string", "minLength": 1, "maxLength": 256, "description": "an expression, like 2*N"}
_TEXT: Schema = {"type": "string"}
_NAME: Schema = {"pattern": r"^[A-Za-z_]\w*$"}
_BASIC = {int: "integer", float: "number", bool: "boolean", str: "string"}


def schema(registry: Registry | None = None) -> Schema:
    """The JSON Schema (draft 2020-12) of specs, from the components of a registry, that of the process by default.

    It knows names, types and limits; shapes, and what expressions come to, only elaboration knows. Of a spec that
    ``extends`` another the model is not looked into, for what it leaves out is its parent's.

    >>> sorted(schema()["required"])
    ['name', 'tinify']
    """
    parts = [part for part in (registry or get_registry()).components() if part.kind in SPEC_KINDS]
    definitions: Schema = {"expression": _EXPRESSION, "use": _use(), "repeat": _repeat(), "parameter": _declared()}
    for part in parts:
        definitions[_key(part)] = _component(part)
    for kind in SPEC_KINDS:
        definitions[kind] = _node(kind, [part for part in parts if part.kind in _fillers(kind)])
    values = {"type": "object", "propertyNames": _NAME}
    preset = _object({"params": values, "training": {"type": "object"}})
    block = _object(
        {"params": _map("parameter"), "do": {"anyOf": [_ref(kind) for kind in SPEC_KINDS]}}, required=["do"]
    )
    properties: Schema = {
        "tinify": {"const": LANGUAGE, "description": "the version of the language"},
        "name": {**_TEXT, "pattern": r"^([a-z][a-z0-9_]*/)?[a-z0-9][a-z0-9._-]*$"},
        "summary": {**_TEXT, "description": "one line"},
        "cite": {**_TEXT, "description": "the paper"},
        "extends": {**_TEXT, "description": "a registered spec, or ./SIBLING.yaml"},
        "params": _map("parameter"),
        "presets": {"type": "object", "additionalProperties": preset},
        "training": {"type": "object", "description": "advice for training; no part of the model's identity"},
        "define": {"type": "object", "propertyNames": _NAME, "additionalProperties": block},
        "model": {"type": ["object", "string"]},
    }
    whole = {"properties": {"model": _ref("model")}, "required": ["model"]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"tinify spec, language {LANGUAGE}",
        **_object(properties, required=["tinify", "name"]),
        "if": {"not": {"required": ["extends"]}},
        "then": whole,
        "$defs": definitions,
    }


def _node(kind: str, parts: list[Component]) -> Schema:
    """What may stand in a place for a kind: a name, a mapping with ``type``, a block; for a transform more."""
    newest = {part.name: part.version for part in parts}  # they come sorted by version
    spelt = [(part, [part.name] * (newest[part.name] == part.version) + [part.key]) for part in parts]
    names = {"enum": [name for _, spellings in spelt for name in spellings]}
    mapping = {
        "type": "object",
        "properties": {"type": names},
        "required": ["type"],
        "allOf": [
            {"if": {"properties": {"type": {"enum": spellings}}}, "then": _ref(_key(part))} for part, spellings in spelt
        ],
    }
    forms: list[Schema] = [names, mapping, _ref("use")]
    if kind == "transform":
        forms += [{"type": "array", "items": _ref("transform")}, _ref("repeat")]
    return {"anyOf": forms}


def _component(part: Component) -> Schema:
    properties: Schema = {"type": True}
    properties |= {name: _parameter(parameter) for name, parameter in part.params.items()}
    properties |= {name: _slot(slot) for name, slot in part.slots.items()}
    required = [name for name, parameter in part.params.items() if parameter.default is REQUIRED]
    required += [name for name, slot in part.slots.items() if slot.default is None and not slot.optional]
    made = {"description": part.summary, **_object(properties, required)}
    return {**made, "deprecated": True} if part.deprecated else made


def _parameter(parameter: Parameter) -> Schema:
    item: Schema = {"enum": list(parameter.choices)} if parameter.choices else {"type": _BASIC[parameter.type]}
    for limit in parameter.limits:
        if isinstance(limit, Range):
            item |= {} if limit.low is None else {"minimum": limit.low}
            item |= {} if limit.high is None else {"maximum": limit.high}
        elif isinstance(limit, MultipleOf):
            item |= {"multipleOf": limit.step}
    value = item if parameter.type is str else {"anyOf": [item, _ref("expression")]}
    if parameter.many:
        value = {"anyOf": [{"type": "array", "items": value}, _ref("expression")]}
    value = {"anyOf": [value, {"type": "null"}]} if parameter.optional else dict(value)
    value |= {"description": parameter.help} if parameter.help else {}
    return value if parameter.default is REQUIRED else {**value, "default": parameter.default}


def _slot(slot: Slot) -> Schema:
    one = _ref(slot.kind)
    if slot.each:
        listed = {"type": "array", "items": {"anyOf": [one, {"type": "null"}]}}
        one = {"anyOf": [one, _object({"each": listed}, required=["each"])]}
    return {**one, "default": slot.default} if slot.default else one


def _use() -> Schema:
    return _object({"use": _TEXT, "with": {"type": "object", "propertyNames": _NAME}}, required=["use"])


def _repeat() -> Schema:
    times = {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 256}, _ref("expression")]}
    return _object({"repeat": times, "as": {**_TEXT, **_NAME}, "do": _ref("transform")}, required=["repeat", "do"])


def _declared() -> Schema:
    """How a spec or a block declares a parameter: by a default, a type, or all that there is to say."""
    keys = {"type": {"enum": list(TYPES)}, "default": True, "help": _TEXT}
    keys |= {key: {"type": "number"} for key in ("min", "max", "multiple_of")}
    return {"anyOf": [{"type": ["number", "boolean", "array", "string"]}, _object(keys)]}


def _object(properties: Mapping[str, Any], required: Iterable[str] = ()) -> Schema:
    made = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    return {**made, "required": list(required)} if required else made


def _map(definition: str) -> Schema:
    return {"type": "object", "propertyNames": _NAME, "additionalProperties": _ref(definition)}


def _fillers(kind: str) -> tuple[str, ...]:
    return ("layer", "transform") if kind == "transform" else (kind,)


def _key(part: Component) -> str:
    return f"{part.kind} {part.key.replace('/', '.')}"


def _ref(definition: str) -> Schema:
    return {"$ref": f"#/$defs/{definition.replace(' ', '%20')}"}
