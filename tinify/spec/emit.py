"""Writes plain data as YAML that the reader of specs reads back to the same data."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import yaml

from tinify.errors import InputError
from tinify.spec.reader import MAX_DEPTH

_WIDTH = 120
_MAX_INTEGER = 10**18  # the reader takes longer rows of digits for floating point
_TAG = "tag:yaml.org,2002:"
_BREAKS = re.compile("[\x85\u2028\u2029]")
# What the reader takes for something else than a string when it stands without quotes.
_RESOLVED = {
    "null": r"(~|null|)\Z",
    "bool": r"(true|false)\Z",
    "int": r"[-+]?[0-9]+\Z",
    "float": r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z",
}


def to_yaml(plain: Mapping[str, Any]) -> str:
    """The YAML of a mapping of strings, numbers, truth values, None, lists and mappings, in their order.

    Collections of scalars stand on one line. Raises :class:`~tinify.errors.InputError` for data that a spec cannot
    hold.

    >>> print(to_yaml({"name": "1e-4", "g_a": ["gdn", {"type": "conv", "out": "2*N", "rate": 1e-4}]}), end="")
    name: '1e-4'
    g_a:
      - gdn
      - {type: conv, out: 2*N, rate: 0.0001}
    """
    _check(plain)
    text: str = yaml.dump(dict(plain), Dumper=_Dumper, width=_WIDTH, allow_unicode=True, sort_keys=False)
    return text


class _Dumper(yaml.SafeDumper):
    """PyYAML's, with the reader's scalars and the house's layout."""

    yaml_implicit_resolvers: dict[str | None, Any] = {}  # noqa: RUF012 - PyYAML's own attribute

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options | {"default_flow_style": None})

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def represent_str(self, data: str) -> Any:
        # Only double quotes keep line breaks other than \n.
        return self.represent_scalar(_TAG + "str", data, style='"' if _BREAKS.search(data) else None)

    def serialize(self, node: Any) -> None:
        node.flow_style = False
        super().serialize(node)


_Dumper.add_representer(str, _Dumper.represent_str)
for _name, _pattern in _RESOLVED.items():
    _Dumper.add_implicit_resolver(_TAG + _name, re.compile(_pattern), None)


def _check(value: Any, depth: int = 0) -> None:
    """Refuses what YAML, or a spec, cannot hold."""
    if isinstance(value, Mapping | list):
        if depth >= MAX_DEPTH:
            raise InputError(f"a spec cannot be nested deeper than {MAX_DEPTH} levels")
        for child in value if isinstance(value, list) else (*value.keys(), *value.values()):
            _check(child, depth + 1)
        if isinstance(value, Mapping) and not all(isinstance(key, str) for key in value):
            raise InputError(f"the keys of a spec are strings; got {list(value)!r}")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise InputError(f"a spec cannot hold the number {value}")
    elif type(value) is int:
        if abs(value) >= _MAX_INTEGER:
            raise InputError(f"a spec cannot hold an integer of more than 18 digits; got {value}")
    elif isinstance(value, str):
        if not value.isascii() and re.search("[\ud800-\udfff]", value):
            raise InputError(f"a spec is UTF-8, which cannot hold the string {value!r}")
    elif value is not None and not isinstance(value, bool):
        raise InputError(f"a spec holds strings, numbers, true, false, null, lists and mappings; got {value!r}")
