"""Reads a restricted YAML into nodes that know their place: YAML 1.2 scalars, no anchors, tags or duplicate keys."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from tinify.spec.diagnostics import Diagnostics, Location

MAX_BYTES, MAX_DEPTH, MAX_NODES = 256 * 1024, 64, 20_000
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_CONSTANTS = {"": None, "~": None, "null": None, "true": True, "false": False}

Scalar = None | bool | int | float | str


@dataclass(frozen=True, eq=False)
class Node:
    """A scalar, a list of nodes or a mapping to nodes; ``keys`` has the place of every key of a mapping."""

    value: Scalar | list[Node] | dict[str, Node]
    location: Location
    keys: dict[str, Location] = field(default_factory=dict)
    quoted: bool = False

    @property
    def mapping(self) -> dict[str, Node]:
        """The mapping, empty if this is none."""
        return self.value if isinstance(self.value, dict) else {}

    def plain(self) -> Any:
        """The value without places, as JSON would have it."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value


def lift(value: Any, where: Location) -> Node:
    """The node of a plain value, as if written at one place."""
    if isinstance(value, dict):
        return Node({key: lift(child, where) for key, child in value.items()}, where, dict.fromkeys(value, where))
    if isinstance(value, list):
        return Node([lift(child, where) for child in value], where)
    return Node(value, where)


def read(text: str, file: str) -> Node:
    """The root mapping of a spec's text; ``file`` names it in errors.

    >>> read("a: 1e-4\\nb: no", "x.yaml").plain()
    {'a': 0.0001, 'b': 'no'}
    """
    return _Reader(text, file).root()


class _Reader:
    """Builds nodes from parser events, so that depth and number are checked as they grow."""

    def __init__(self, text: str, file: str) -> None:
        self.text, self.file = text, file
        self.diagnostics = Diagnostics({file: text})
        self.open: list[tuple[Node, list[tuple[str, Location]]]] = []  # unfinished collections, and the key that waits
        self.top: Node | None = None
        self.documents = 0

    def root(self) -> Node:
        start = Location(self.file)
        if len(self.text) > MAX_BYTES or len(self.text.encode("utf-8", "replace")) > MAX_BYTES:
            Diagnostics().fatal("S001", start, f"a spec has at most {MAX_BYTES} bytes")  # without the text: it is large
        try:
            for count, event in enumerate(yaml.parse(self.text, Loader=_LOADER)):
                if count > MAX_NODES:
                    self.fatal(event, "S001", f"a spec has at most {MAX_NODES} nodes")
                self.take(event)
        except yaml.MarkedYAMLError as error:
            self.invalid(error)
        except (yaml.YAMLError, UnicodeError) as error:
            self.diagnostics.fatal(
                "S000", start, f"not valid YAML: {' '.join(str(error).split())}", "save it as UTF-8 text"
            )
        if self.top is None or not isinstance(self.top.value, dict):
            self.diagnostics.fatal("S007", start, "a spec is a mapping", "it starts with the line `tinify: 1`")
        return self.top

    def take(self, event: Any) -> None:
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                self.fatal(event, "S002", "a file holds one spec", "remove the line `---` and what follows")
        if getattr(event, "anchor", None):
            hint = "name a block with define: and put it in place with {use: NAME}; an expression starts with no * or &"
            self.fatal(event, "S003", "YAML anchors and aliases are not part of the language", hint)
        if getattr(event, "tag", None) not in (None, "!"):
            self.fatal(
                event, "S004", f"YAML tags are not part of the language ({event.tag})", "quote values that start with !"
            )
        if isinstance(event, yaml.ScalarEvent):
            self.add(self.scalar(event))
        elif isinstance(event, yaml.CollectionStartEvent):
            if len(self.open) >= MAX_DEPTH:
                self.fatal(event, "S001", f"nested deeper than {MAX_DEPTH} levels")
            node = Node({} if isinstance(event, yaml.MappingStartEvent) else [], self.at(event.start_mark))
            self.add(node)
            self.open.append((node, []))
        elif isinstance(event, yaml.CollectionEndEvent):
            self.open.pop()

    def add(self, node: Node) -> None:
        if not self.open:
            self.top = node
            return
        parent, key = self.open[-1]
        if isinstance(parent.value, list):
            parent.value.append(node)
        elif isinstance(parent.value, dict) and key:
            name, where = key.pop()
            parent.value[name], parent.keys[name] = node, where
        elif not isinstance(node.value, str):
            if isinstance(node.value, list | dict):
                self.diagnostics.fatal("S006", node.location, "a key is a string, got a list or a mapping")
            self.diagnostics.fatal("S006", node.location, f"a key is a string, got {node.value!r}", "quote it")
        elif node.value in parent.keys:
            first = parent.keys[node.value].line
            self.diagnostics.fatal(
                "S005", node.location, f"duplicate key {node.value!r} (first at line {first})", "write it once"
            )
        else:
            key.append((node.value, node.location))

    def scalar(self, event: Any) -> Node:
        where, text = self.at(event.start_mark), event.value
        if event.style not in (None, ""):
            return Node(text, where, quoted=True)
        value: Scalar = text
        if text in _CONSTANTS:
            value = _CONSTANTS[text]
        elif _INTEGER.fullmatch(text):
            value = int(text)
        elif _FLOAT.fullmatch(text) and not (text.lstrip("+-").isdigit() and text.lstrip("+-")[0] == "0"):
            value = float(text)
            if not math.isfinite(value):
                self.fatal(event, "S008", f"the number {text} is too large")
        return Node(value, where)

    def invalid(self, error: yaml.MarkedYAMLError) -> None:
        mark = error.problem_mark or error.context_mark
        where = self.at(mark) if mark else Location(self.file)
        lines = self.text.splitlines()
        line = lines[where.line - 1] if where.line <= len(lines) else ""
        opened = error.context_mark if error.context and "flow" in error.context else mark
        hint = "indent with spaces, and quote values that start with one of * & ! % @ `"
        if "\t" in line:
            hint = "indent with spaces, not tabs"
        elif opened is not None and opened.line + 1 < where.line:
            hint = f"close what is opened at line {opened.line + 1}, column {opened.column + 1}"
        elif "mapping values" in str(error.problem):
            hint = "quote a value that contains `: `, and indent the keys of a mapping alike"
        elif "{" in line or "[" in line:
            hint = "inside { } and [ ], quote values that contain , [ ] { }"
        self.diagnostics.fatal("S000", where, f"not valid YAML: {error.problem or error.context}", hint)

    def fatal(self, event: Any, code: str, message: str, hint: str = "") -> None:
        self.diagnostics.fatal(code, self.at(event.start_mark), message, hint)

    def at(self, mark: Any) -> Location:
        return Location(self.file, mark.line + 1, mark.column + 1)
