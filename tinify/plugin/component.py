"""Declarations of components: a light class with annotated fields and a shape rule."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

from tinify.errors import PluginError
from tinify.plugin.offers import TARGET, Plugin, load_target
from tinify.plugin.parameters import REQUIRED, Parameter
from tinify.plugin.signature import Sig

KINDS = ("layer", "transform", "entropy_model", "latent_codec", "coder", "model", "loss", "picture_codec")
# Those that a spec may name.
SPEC_KINDS = KINDS[:-1]
RESERVED = frozenset({"type", "kind", "version", "in", "id", "when", "repeat", "as", "do", "use", "with", "each"})
NAME = re.compile(r"(?:[a-z][a-z0-9_]*/)?[a-z][a-z0-9_]*")

_Class = TypeVar("_Class", bound=type[Any])


@dataclass(frozen=True)
class Slot:
    """A place for a child component: its kind, and the name of the component that fills it when a spec says nothing.

    Kind ``"transform"`` takes a layer, a transform, or a list of them. An ``optional`` slot may stay empty: its target
    gets None. With ``each``, the name of a list parameter, a spec fills the slot once for every element of that list,
    by a template in which ``g`` is the element and ``k`` its index; the target gets a list.
    """

    kind: str
    default: str | None = None
    optional: bool = False
    each: str | None = None


@dataclass(frozen=True)
class Component:
    """A declared component; ``provider`` says which plugin it came from, once it is registered."""

    kind: str
    name: str
    target: str
    declaration: type
    version: int = 1
    summary: str = ""
    params: Mapping[str, Parameter] = field(default_factory=dict)
    slots: Mapping[str, Slot] = field(default_factory=dict)
    deprecated: str | None = None
    provider: Plugin | None = None

    @property
    def key(self) -> str:
        """Name and version, as a spec may write them: ``"gdn@1"``."""
        return f"{self.name}@{self.version}"

    def load(self) -> Any:
        """Imports the target and returns it; :class:`~tinify.errors.PluginError` if that fails."""
        return load_target(self.target, self, self.provider)

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r}"


def _same(self: object, *inputs: Sig) -> Sig:
    return inputs[0] if inputs else Sig(1)


def component(
    kind: str,
    name: str,
    *,
    target: str,
    version: int = 1,
    slots: Mapping[str, Slot] | None = None,
    deprecated: str | None = None,
) -> Callable[[_Class], _Class]:
    """Turns a class with annotated fields into a frozen dataclass that declares a component; registers nothing.

    Fields are ``int``, ``float``, ``bool``, ``str``, ``Literal["a", "b"]``, ``list`` of one of these, any of them
    ``| None``, and ``Annotated`` with :class:`Range`, :class:`MultipleOf` or words of help. The method ``shape`` is
    the shape rule:

    * ``shape(self, x: Sig) -> Sig`` for a layer, transform or entropy model without slots;
    * ``shape(self, slots, *inputs)`` for those with slots, for latent codecs (``y``, ``side=None``) and for models
      (``x``), where ``slots(name, *inputs) -> Sig`` is what the child in that slot makes of those inputs; ask for each
      slot once, and for a slot that stands for ``each`` element once with every ``index=k`` that it has a child for.

    The method ``cost(self, *inputs: Sig) -> Cost`` may say what the component costs by itself, children not counted.
    Several versions of a component may be declared side by side; a spec that names none gets the newest.

    Raises :class:`~tinify.errors.PluginError` for a declaration that breaks these rules.

    >>> @component("layer", "acme/twice", target="acme.layers:Twice")
    ... class Twice:
    ...     '''Doubles the channels.'''
    ...     bias: bool = True
    ...     def shape(self, x: Sig) -> Sig:
    ...         return x.with_channels(2 * x.channels)
    >>> Twice.__component__.summary, str(Twice().shape(Sig(4)))
    ('Doubles the channels.', '8ch@1/1')
    """

    def declare(cls: _Class) -> _Class:
        found = Component(kind, name, target, cls, version, slots=dict(slots or {}), deprecated=deprecated)
        _check(found)
        try:
            hints = typing.get_type_hints(cls, include_extras=True)
            params = {key: Parameter.of(hint, getattr(cls, key, REQUIRED)) for key, hint in hints.items()}
        except (TypeError, ValueError, NameError) as error:
            raise PluginError(f"{kind} {name!r} is declared wrongly: {error}") from error
        for key in (RESERVED | found.slots.keys() | {"shape", "cost"}) & params.keys():
            raise PluginError(f"{kind} {name!r} cannot have a parameter called {key!r}: that name is taken")
        for key, slot in found.slots.items():
            if slot.each and not (slot.each in params and params[slot.each].many):
                raise PluginError(f"{found}: slot {key!r} is for each of {slot.each!r}, which is no list parameter")
        for key, parameter in params.items():
            if isinstance(parameter.default, list):
                setattr(cls, key, tuple(parameter.default))  # a dataclass refuses defaults that can change
        if not hasattr(cls, "shape"):
            if kind not in ("entropy_model", "coder", "loss", "picture_codec"):
                raise PluginError(f"{kind} {name!r} needs a shape rule: def shape(self, ...) -> Sig")
            cls.shape = _same
        summary = (cls.__dict__.get("__doc__") or "").strip().partition("\n")[0]  # before a dataclass writes its own
        declaration: Any = dataclass(frozen=True, kw_only=True)(cls)
        if {part.name for part in fields(declaration)} != params.keys():
            raise PluginError(
                f"{kind} {name!r} is declared wrongly: the fields of a base class count only if it is a component"
            )
        found = replace(found, declaration=declaration, params=types.MappingProxyType(params), summary=summary)
        declaration.__component__ = found
        return cls

    return declare


def _check(found: Component) -> None:
    slots_ok = all(
        isinstance(slot, Slot) and slot.kind in KINDS and key.isidentifier() and key not in RESERVED
        for key, slot in found.slots.items()
    )
    for right, what in (
        (found.kind in KINDS, f"a kind must be one of {', '.join(KINDS)}; got {found.kind!r}"),
        (NAME.fullmatch(found.name), f"a name is lower_case or namespace/lower_case; got {found.name!r}"),
        (TARGET.fullmatch(found.target), f"a target is 'module:attribute'; got {found.target!r}"),
        (type(found.version) is int and found.version > 0, f"a version is 1, 2...; got {found.version!r}"),
        (slots_ok, f"slots map free identifiers to Slot(kind); got {dict(found.slots)!r}"),
    ):
        if not right:
            raise PluginError(f"{found.kind} {found.name!r} is declared wrongly: {what}")
