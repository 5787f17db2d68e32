"""``extends``: a spec over its parent. Mappings merge key by key; lists, and nodes of another form or type, replace."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tinify.errors import UnknownNameError
from tinify.registry import Registry
from tinify.spec.diagnostics import Diagnostics, Location
from tinify.spec.parameters import suggest
from tinify.spec.reader import MAX_BYTES, Node, read

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

MAX_CHAIN = 8


@dataclass(frozen=True)
class Source:
    """The text of a spec: its label in errors, and the folder where ``./sibling.yaml`` is looked for, if it has one."""

    label: str
    text: str
    folder: Any = None


def open_file(file: Traversable, label: str) -> Source:
    """Reads a spec's file; :class:`~tinify.errors.SpecError` if it cannot be read as UTF-8."""
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ValueError(f"it has more than {MAX_BYTES} bytes")
        return Source(label, data.decode("utf-8-sig"), getattr(file, "parent", None))
    except UnicodeDecodeError as error:
        message = f"cannot read the spec: byte {error.object[error.start]:#04x} at {error.start} is not UTF-8"
        Diagnostics().fatal("S009", Location(label), message, "save it as UTF-8 text")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        Diagnostics().fatal("S009", Location(label), f"cannot read the spec: {reason}")


def open_name(name: str, registry: Registry) -> Source:
    """Reads a registered spec; :class:`~tinify.errors.UnknownNameError` if there is none of that name."""
    files = registry.spec_files()
    if name not in files:
        reason = registry.missing(name)
        if reason:
            raise UnknownNameError(f"unknown spec {name!r}: {reason}")
        raise UnknownNameError.among("spec", name, files)
    return open_file(files[name], str(files[name]))


def load(source: Source, registry: Registry, chain: tuple[str, ...] = ()) -> tuple[Node, dict[str, str]]:
    """The root of a spec merged over its parents, and the text of each of them by label."""
    root = read(source.text, source.label)
    sources = {source.label: source.text}
    parent = root.mapping.get("extends")
    if parent is None:
        return root, sources
    chain = (*chain, source.label)
    base = _parent(parent, source, registry, sources)
    if base.label in chain:
        Diagnostics(sources).fatal(
            "E002",
            parent.location,
            f"specs extend each other: {' -> '.join([*chain, base.label])}",
            "one of them must stand alone",
        )
    if len(chain) > MAX_CHAIN:
        Diagnostics(sources).fatal(
            "E003", parent.location, f"specs extend each other more than {MAX_CHAIN} deep", "merge some"
        )
    base_root, base_sources = load(base, registry, chain)
    return merge(base_root, _with_whole_params(base_root, root)), base_sources | sources


def _parent(node: Node, source: Source, registry: Registry, sources: dict[str, str]) -> Source:
    name = node.value
    diagnostics = Diagnostics(sources)
    form = "extends takes a registered name, or ./NAME.yaml in the same folder"
    if not isinstance(name, str):
        diagnostics.fatal("E001", node.location, f"{form}; got {node.plain()!r}")
    if not name.startswith("./"):
        if not re.fullmatch(r"[\w./@-]*[\w@-]", name) or name.startswith(("/", ".")) or ".y" in name:
            diagnostics.fatal(
                "E001", node.location, f"{form}; got {name!r}", "no other file is read, and nothing fetched"
            )
        if name not in registry.spec_files():
            hint = registry.missing(name) or suggest(name, registry.spec_files())
            diagnostics.fatal("E001", node.location, f"unknown spec {name!r}", hint)
        return open_name(name, registry)
    sibling = name.removeprefix("./")
    if "/" in sibling or "\\" in sibling or not sibling.endswith(".yaml"):
        diagnostics.fatal("E001", node.location, f"{form}; got {name!r}")
    file = source.folder and source.folder / sibling
    if not file or not file.is_file():
        where = f"there is no such file in {source.folder}" if file else "a spec given as text has no folder"
        diagnostics.fatal("E001", node.location, f"cannot extend {name!r}: {where}")
    return open_file(file, str(file))


def merge(base: Node, top: Node) -> Node:
    """``top`` over ``base``; every node keeps its own place."""
    if not isinstance(base.value, dict) or not isinstance(top.value, dict):
        return top
    form = _form(top)
    if form is not None and form != _form(base):
        return top
    merged = {
        **base.value,
        **{key: merge(base.value[key], node) if key in base.value else node for key, node in top.value.items()},
    }
    return Node(merged, top.location, {**base.keys, **top.keys})


def _with_whole_params(base: Node, top: Node) -> Node:
    """``N: 64`` in a child sets the default of a parameter that its parent declares, whose type and limits stay."""
    params, declared = top.mapping.get("params"), base.mapping.get("params", top).mapping
    if params is None or not params.mapping:
        return top
    whole = {
        name: Node({"default": node}, node.location, {"default": node.location})
        if isinstance(declared.get(name, node).value, dict) and not isinstance(node.value, dict)
        else node
        for name, node in params.mapping.items()
    }
    return Node({**top.mapping, "params": Node(whole, params.location, params.keys)}, top.location, top.keys)


def _form(node: Node) -> Any:
    """What a mapping is: a component of some type, a block, a repeat, a list for each element, or None."""
    return next(((key, node.mapping[key].plain()) for key in ("type", "use") if key in node.mapping), None) or next(
        (key for key in ("repeat", "each") if key in node.mapping), None
    )
