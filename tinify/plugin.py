"""All that a plugin author imports: the hooks, ``component``, ``Slot``, ``Sig`` and the limits of parameters.

A component is *declared* by a light class, importable without torch, and *implemented* by its target, imported when a
model is built::

    @component("layer", "acme/halve", target="acme.layers:Halve")
    class Halve:
        '''A strided convolution.'''

        out: Annotated[int, Range(1, 4096)]

        def shape(self, x: Sig) -> Sig:
            return x.strided(2).with_channels(self.out)

    @hookimpl
    def tinify_components():
        return [Halve]
"""

from __future__ import annotations

import importlib
import numbers
import re
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy

from tinify.errors import PluginError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

hookspec = pluggy.HookspecMarker("tinify")
hookimpl = pluggy.HookimplMarker("tinify")

KINDS = ("layer", "transform", "entropy_model", "latent_codec", "coder", "model", "loss")
RESERVED = frozenset({"type", "kind", "version", "in", "id", "when", "repeat", "as", "do", "use", "with", "each"})
NAME = re.compile(r"(?:[a-z][a-z0-9_]*/)?[a-z][a-z0-9_]*")
TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
REQUIRED: Any = type("Required", (), {"__repr__": lambda _: "REQUIRED"})()

_NOUNS = {int: "an integer", float: "a number", bool: "true or false", str: "a string"}
_Class = TypeVar("_Class", bound=type[Any])


class Hooks:
    """The hooks that a plugin may implement."""

    @hookspec
    def tinify_components(self) -> Iterable[type]:  # type: ignore[empty-body]
        """The classes decorated with :func:`component` that this plugin offers."""

    @hookspec
    def tinify_spec_paths(self) -> Iterable[Traversable]:  # type: ignore[empty-body]
        """Folders of ``NAME.yaml``; weights ``NAME.safetensors`` and a model card ``NAME.md`` may lie beside."""


class ShapeError(Exception):
    """Raised by a shape rule that cannot take its inputs; ``slot`` names the child that is at fault, if it is one."""

    def __init__(self, message: str, slot: str | None = None) -> None:
        super().__init__(message, slot)
        self.message, self.slot = message, slot


@dataclass(frozen=True)
class Sig:
    """The signature of a tensor: channels, and how many pixels of the picture one element spans per side.

    >>> str(Sig(3).strided(16).with_channels(192))
    '192ch@1/16'
    """

    channels: int
    stride: Fraction = Fraction(1)

    def strided(self, factor: int | Fraction) -> Sig:
        """The signature after a stride of ``factor``; below 1 for a larger output."""
        return replace(self, stride=self.stride * Fraction(factor))

    def with_channels(self, channels: int) -> Sig:
        return replace(self, channels=channels)

    def __str__(self) -> str:
        return f"{self.channels}ch@{self.stride.denominator}/{self.stride.numerator}"


@dataclass(frozen=True)
class Range:
    """Limits of a number, both included; None for no limit."""

    low: float | None = None
    high: float | None = None

    def allows(self, value: float) -> bool:
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)

    def __str__(self) -> str:
        ends = [f"at least {self.low}"] * (self.low is not None) + [f"at most {self.high}"] * (self.high is not None)
        return " and ".join(ends)


@dataclass(frozen=True)
class MultipleOf:
    """A number that divides the value."""

    step: float

    def allows(self, value: float) -> bool:
        return value % self.step == 0

    def __str__(self) -> str:
        return f"a multiple of {self.step}"


@dataclass(frozen=True)
class Parameter:
    """What values a parameter takes, and its default (``REQUIRED`` if it has none)."""

    type: type[int] | type[float] | type[bool] | type[str]
    many: bool = False
    optional: bool = False
    choices: tuple[str, ...] = ()
    limits: tuple[Range | MultipleOf, ...] = ()
    default: Any = REQUIRED
    help: str = ""

    @classmethod
    def of(cls, annotation: Any, default: Any = REQUIRED) -> Parameter:
        """Reads a field's annotation; ``TypeError`` if it is none of those that :func:`component` lists."""
        origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
        if origin is typing.Annotated:
            limits = tuple(a for a in arguments[1:] if isinstance(a, Range | MultipleOf))
            found = replace(cls.of(arguments[0]), limits=limits)
        elif origin in (typing.Union, types.UnionType) and len(arguments) == 2 and type(None) in arguments:
            found = replace(cls.of(next(a for a in arguments if a is not type(None))), optional=True)
        elif origin is typing.Literal and all(isinstance(choice, str) for choice in arguments):
            found = cls(str, choices=arguments)
        elif origin is list and not (inner := cls.of(arguments[0])).many and not inner.optional:
            found = replace(inner, many=True)
        elif annotation in _NOUNS:
            found = cls(annotation)
        else:
            raise TypeError(f"a parameter cannot be annotated {annotation!r}")
        return found if default is REQUIRED else replace(found, default=found.convert(default))

    def convert(self, value: Any) -> Any:
        """The value as the declared type (lists as lists); ``ValueError`` says what was expected.

        >>> Parameter(float).convert(3)
        3.0
        """
        if value is None and self.optional:
            return None
        if not self.many:
            return self._scalar(value)
        if not isinstance(value, list | tuple):
            raise ValueError(f"expected {self}, got {value!r}")
        return [self._scalar(item) for item in value]

    def _scalar(self, value: Any) -> Any:
        abstract: Any = {int: numbers.Integral, float: numbers.Real}.get(self.type, self.type)
        numeric = self.type in (int, float)
        if not isinstance(value, abstract) or (numeric and isinstance(value, bool)):
            raise ValueError(f"expected {_NOUNS[self.type]}, got {value!r}")
        if numeric and not abs(value) <= (2**53 if self.type is int else sys.float_info.max):
            raise ValueError(f"expected {_NOUNS[self.type]} of a usual size, got {value!r}")
        value = typing.cast(Any, self.type)(value)
        if self.choices and value not in self.choices:
            raise ValueError(f"expected {self}, got {value!r}")
        for limit in self.limits:
            if not limit.allows(value):
                raise ValueError(f"expected {_NOUNS[self.type]}, {limit}; got {value!r}")
        return value

    def __str__(self) -> str:
        words = " or ".join(map(repr, self.choices)) or self.type.__name__
        words = f"list[{words}]" if self.many else words
        return ", ".join([words, *map(str, self.limits)]) + (" or null" if self.optional else "")


@dataclass(frozen=True)
class Slot:
    """A place for a child component: its kind, and the name of the component that fills it when a spec says nothing.

    Kind ``"transform"`` takes a layer, a transform, or a list of them.
    """

    kind: str
    default: str | None = None


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
    provider: str = ""

    def load(self) -> Any:
        """Imports the target and returns it; :class:`~tinify.errors.PluginError` if that fails."""
        module, _, path = self.target.partition(":")
        try:
            target: Any = importlib.import_module(module)
            for attribute in path.split("."):
                target = getattr(target, attribute)
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"{self.kind} {self.name!r} of {self.provider or 'no plugin'} cannot be loaded from {self.target}: "
                f"{type(error).__name__}: {error}"
            ) from error
        return target


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
    ``| None``, and ``Annotated`` with :class:`Range` or :class:`MultipleOf`. The method ``shape`` is the shape rule:

    * ``shape(self, x: Sig) -> Sig`` for a layer, transform or entropy model without slots;
    * ``shape(self, slots, *inputs)`` for those with slots, for latent codecs (``y``, ``side=None``) and for models
      (``x``), where ``slots(name, *inputs) -> Sig`` is what the child in that slot makes of those inputs; ask for each
      slot once.

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
        for key in (RESERVED | found.slots.keys() | {"shape"}) & params.keys():
            raise PluginError(f"{kind} {name!r} cannot have a parameter called {key!r}: that name is taken")
        for key, parameter in params.items():
            if isinstance(parameter.default, list):
                setattr(cls, key, tuple(parameter.default))  # a dataclass refuses defaults that can change
        if not hasattr(cls, "shape"):
            if kind not in ("entropy_model", "coder", "loss"):
                raise PluginError(f"{kind} {name!r} needs a shape rule: def shape(self, ...) -> Sig")
            cls.shape = _same
        declaration: Any = dataclass(frozen=True, kw_only=True)(cls)
        if {part.name for part in fields(declaration)} != params.keys():
            raise PluginError(
                f"{kind} {name!r} is declared wrongly: the fields of a base class count only if it is a component"
            )
        summary = (cls.__dict__.get("__doc__") or "").strip().partition("\n")[0]
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
