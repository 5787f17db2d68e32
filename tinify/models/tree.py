"""Module in, canonical form out: what the builder stamped on the parts, read back from the parts as they are now."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from tinify.errors import InputError
from tinify.registry import get_registry


def tree_of(part: Any, path: str = "") -> Any:
    """The canonical node of a module, or the list of nodes of an ``nn.Sequential`` of such modules.

    Raises :class:`~tinify.errors.InputError` for a part that carries no ``spec_node``, naming its path.
    """
    node = getattr(part, "spec_node", None)
    if node is None and type(part) is nn.Sequential:
        return [tree_of(child, _join(path, name)) for name, child in part.named_children()]
    if node is None:
        raise _stranger(path, part)
    component = get_registry().component(node["kind"], f"{node['type']}@{node['version']}")
    own = {key: value for key, value in node.items() if key not in component.slots}
    for slot in component.slots:
        child = _child(getattr(part, slot, None), node.get(slot), _join(path, slot))
        if child is not None:
            own[slot] = child
    return own


def parts_of(part: Any, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Every module that was made from a spec, with its path in the spec, which names children of a list by number."""
    node = getattr(part, "spec_node", None)
    if node is None:
        for place, child in enumerate(_children(part)):
            yield from parts_of(child, _join(path, place))
        return
    yield path, part
    for slot in get_registry().component(node["kind"], f"{node['type']}@{node['version']}").slots:
        child = getattr(part, slot, None)
        places = (node.get(slot) or {}).get("each") if isinstance(node.get(slot), dict) else None
        if places is None:
            yield from parts_of(child, _join(path, slot)) if isinstance(child, nn.Module) else ()
            continue
        filled = [place for place, made in enumerate(places) if made is not None]
        for place, one in zip(filled, _children(child), strict=True):
            yield from parts_of(one, _join(path, f"{slot}.{place}"))


def _children(part: Any) -> list[Any]:
    """What a container holds: a list, or one of torch's containers; nothing if it is none."""
    children = part.values() if isinstance(part, nn.ModuleDict) else part
    several = isinstance(part, list | tuple | nn.ModuleList | nn.ModuleDict | nn.Sequential)
    return [child for child in children if child is not None] if several else []


def _child(part: Any, node: Any, path: str) -> Any:
    """The node of what a slot holds; ``node`` is what it held when it was built."""
    if isinstance(node, dict) and "each" in node:
        there = _children(part)
        places = [place for place, child in enumerate(node["each"]) if child is not None]
        if len(there) != len(places):
            raise _stranger(path, part)
        made: list[Any] = [None] * len(node["each"])
        for place, child in zip(places, there, strict=True):
            made[place] = tree_of(child, _join(path, place))
        return {"each": made}
    if part is None or isinstance(part, nn.Module):
        return None if part is None else tree_of(part, path)
    # A part without a stamp, like a coder: all that can be seen is whether it is of the class that was built.
    target = None if node is None else get_registry().component(node["kind"], node["type"]).load()
    if target is None or (isinstance(target, type) and type(part) is not target):
        raise _stranger(path, part)
    return node


def _stranger(path: str, part: Any) -> InputError:
    what = f"part {path!r}, a {type(part).__name__}," if path else f"this {type(part).__name__}"
    return InputError(
        f"{what} was not made from a spec, so no spec can say it: declare its class as a component "
        "(tinify.register) and make it by tinify.models.build_part"
    )


def _join(path: str, name: object) -> str:
    return f"{path}.{name}" if path else str(name)
