"""The parameters of a component: which values they take, read from annotations."""

from __future__ import annotations

import numbers
import sys
import types
import typing
from dataclasses import dataclass, replace
from typing import Any

REQUIRED: Any = type("Required", (), {"__repr__": lambda _: "REQUIRED"})()

_NOUNS = {int: "an integer", float: "a number", bool: "true or false", str: "a string"}


@dataclass(frozen=True)
class Range:
    """Limits of a number, both included; None for no limit."""

    low: float | None = None
    high: float | None = None

    def allows(self, value: float) -> bool:
        """Whether a number lies within the limits."""
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)

    def __str__(self) -> str:
        ends = [f"at least {self.low}"] * (self.low is not None) + [f"at most {self.high}"] * (self.high is not None)
        return " and ".join(ends)


@dataclass(frozen=True)
class MultipleOf:
    """A number that divides the value."""

    step: float

    def allows(self, value: float) -> bool:
        """Whether a number is a multiple."""
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
            words = next((a for a in arguments[1:] if isinstance(a, str)), "")
            found = replace(cls.of(arguments[0]), limits=limits, help=words)
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
            raise ValueError(f"expected {self if self.choices else _NOUNS[self.type]}, got {value!r}")
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
