"""Builds specs in Python: the tree that YAML makes, with the same errors, which point into the caller's file.

>>> from tinify import builder as b
>>> N, M = b.var("N", "M")
>>> def down(c):
...     return b.seq(b.conv(out=c, kernel=5, stride=2), b.gdn())
>>> spec = b.spec(
...     "small",
...     b.autoencoder(
...         g_a=[down(N), down(2 * N), b.conv(out=M)],
...         latent_codec="entropy_bottleneck",
...         g_s=[b.repeat(2, [b.deconv(out=N), b.gdn(inverse=True)]), b.deconv(out=3)],
...     ),
...     params={"N": 8, "M": 16},
... )
>>> spec.elaborate(M=12).stride
8

``b.conv(...)`` is short for ``b.node("conv", ...)``, and likewise for every component; those of plugins have a
namespace, and go by ``b.node("acme/gdn", groups=4)``.
"""

from __future__ import annotations

import functools
import inspect
import linecache
import numbers
import sys
from collections.abc import Callable, Mapping
from typing import Any, overload

from tinify.errors import InputError, UnknownNameError
from tinify.plugin import KINDS, Component
from tinify.registry import get_registry
from tinify.spec import Location, Spec
from tinify.spec.emit import to_yaml
from tinify.spec.merge import load, merge, open_name
from tinify.spec.parameters import is_name, suggest
from tinify.spec.reader import MAX_DEPTH, MAX_NODES, Node
from tinify.spec.symbols import Expression

__all__ = ["Expression", "node", "repeat", "seq", "spec", "var"]


@overload
def var(name: str, /) -> Expression: ...


@overload
def var(name: str, second: str, /, *names: str) -> tuple[Expression, ...]: ...


def var(*names: str) -> Expression | tuple[Expression, ...]:
    """Symbolic parameters, one for each name: arithmetic and comparisons of them become expressions of the spec.

    Raises :class:`~tinify.errors.InputError` for what cannot be a parameter's name.

    >>> print(3 * var("M") // 2)
    3*M // 2
    """
    for name in names:
        if not is_name(name):
            raise InputError(f"{name!r} cannot be a parameter's name: use letters, digits and _")
    if not names:
        raise InputError('var takes names: N = var("N"), or N, M = var("N", "M")')
    made = tuple(map(Expression, names))
    return made if len(made) > 1 else made[0]


def node(name: str, /, **arguments: Any) -> Node:
    """A component: its parameters (values, or expressions over :func:`var`) and the children of its slots.

    A child is a node, a name, or, where the slot takes a transform, a list of these. Raises
    :class:`~tinify.errors.UnknownNameError` for a name that no component has, and for an argument that the component
    does not take; what else is wrong is reported by :meth:`Spec.elaborate <tinify.spec.Spec.elaborate>`, all at once.

    >>> node("conv", out=8, kernel=3).plain()
    {'type': 'conv', 'out': 8, 'kernel': 3}
    """
    where = _caller()
    if not isinstance(name, str):
        raise InputError(f"{where}: the name of a component is a string, got {name!r}")
    _check(name, arguments)
    if not arguments:
        return Node(name, where)
    return _lift({"type": name, **arguments}, where)


class UnknownPartError(UnknownNameError, AttributeError):
    """No component of that name, asked for as an attribute of this module."""


def __getattr__(name: str) -> Callable[..., Node]:
    if name.startswith("__"):
        raise AttributeError(name)
    if not _find(name):
        raise UnknownPartError(f"unknown component {name!r}: {get_registry().hint(KINDS, name)}")
    return functools.partial(node, name)


def __dir__() -> list[str]:
    return sorted({*__all__, *(part.name for part in get_registry().components() if "/" not in part.name)})


def seq(*nodes: Any) -> Node:
    """Parts one after another; a plain list says the same."""
    return _lift(list(nodes), _caller())


def repeat(times: int | Expression | str, part: Any, as_: str | None = None) -> Node:
    """A part ``times`` times over; ``as_`` names the count, from 0, for expressions in it.

    >>> repeat(3, node("conv", out=8 + var("i")), as_="i").plain()
    {'repeat': 3, 'as': 'i', 'do': {'type': 'conv', 'out': '8 + i'}}
    """
    return _lift({"repeat": times, **({"as": as_} if as_ else {}), "do": part}, _caller())


def spec(
    name: str,
    model: Any = None,
    *,
    params: Mapping[str, Any] | None = None,
    presets: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    summary: str | None = None,
    cite: str | None = None,
    extends: str | None = None,
) -> Spec:
    """The spec of a model, or of what is changed in the registered spec that it ``extends``.

    Arguments are the sections of a spec's YAML, which :attr:`Spec.text <tinify.spec.Spec>` shows. Raises
    :class:`~tinify.errors.UnknownNameError` for an unknown parent, and :class:`~tinify.errors.InputError` for values
    that no spec can hold.

    >>> spec("wide", extends="mbt2018-mean", params={"N": 192}).elaborate().parameters["N"]
    192
    """
    sections = {
        "name": name,
        "summary": summary,
        "cite": cite,
        "extends": extends,
        "params": params,
        "presets": presets,
        "training": training,
        "model": model,
    }
    given = {key: value for key, value in sections.items() if value is not None}
    root = _lift({"tinify": 1, **given}, _caller())
    sources = {file: "".join(linecache.getlines(file)) for file in _files(root)}
    text = to_yaml(root.plain())
    if extends is not None:
        base, texts = load(open_name(str(extends), get_registry()), get_registry())
        root, sources = merge(base, root), texts | sources
    return Spec(root, sources, text)


class _Call(Location):
    """The place of a call, which stands for all that was passed to it: columns of an argument are not known."""

    def moved(self, columns: int) -> Location:
        return self


def _caller() -> Location:
    """The place of the call that led into this module."""
    frame = sys._getframe()
    while frame.f_globals.get("__name__") == __name__ and frame.f_back:
        frame = frame.f_back
    where = inspect.getframeinfo(frame, context=0)
    column = where.positions.col_offset if where.positions else None
    return _Call(where.filename, where.lineno, 1 + (column or 0))


def _find(name: str) -> list[Component]:
    """The components of that name, of whatever kind."""
    return [part for kind in KINDS if (part := get_registry().find((kind,), name))]


def _check(name: str, arguments: Mapping[str, Any]) -> None:
    """Raises :class:`UnknownNameError` unless one of the components of that name takes all the arguments."""
    found = _find(name)
    if not found:
        raise UnknownNameError(f"unknown component {name!r}: {get_registry().hint(KINDS, name)}")
    known = [(*part.params, *part.slots) for part in found]
    if not any(arguments.keys() <= set(names) for names in known):
        every = tuple(dict.fromkeys(key for names in known for key in names))
        wrong = next((key for key in arguments if key not in every), next(iter(arguments)))
        raise UnknownNameError(f"{name} has no parameter {wrong!r}: {suggest(wrong, every)}")


def _lift(value: Any, where: Location, depth: int = 0) -> Node:
    """The node of what a user passed; parts that are nodes already keep their own places."""
    if isinstance(value, Node):
        return value
    if depth > MAX_DEPTH:
        raise InputError(f"a spec cannot be nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        children = {key: _lift(child, where, depth + 1) for key, child in value.items()}
        return Node(children, where, dict.fromkeys(children, where))
    if isinstance(value, list | tuple):
        return Node([_lift(child, where, depth + 1) for child in value], where)
    if isinstance(value, Expression):
        return Node(value.text, where)
    if value is None or isinstance(value, bool | str):
        return Node(value, where)
    if isinstance(value, numbers.Integral):
        return Node(int(value), where)
    if isinstance(value, numbers.Real):
        return Node(float(value), where)
    raise InputError(f"{where}: a spec is made of nodes, numbers, strings, lists and mappings; got {value!r}")


def _files(root: Node) -> set[str]:
    """The files that a tree points into; refuses a tree that YAML could not hold."""
    files: set[str] = set()
    level, count = [root], 0
    for _ in range(MAX_DEPTH + 1):
        count += len(level)
        if count > MAX_NODES:
            raise InputError(f"a spec has at most {MAX_NODES} nodes: say what recurs by repeat")
        files |= {node.location.file for node in level}
        level = [
            child for node in level for child in (node.value if isinstance(node.value, list) else node.mapping.values())
        ]
        if not level:
            return files
    raise InputError(f"a spec cannot be nested deeper than {MAX_DEPTH} levels")
