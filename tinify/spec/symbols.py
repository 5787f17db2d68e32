"""Symbolic parameters: Python arithmetic that is kept as the text of an expression."""

from __future__ import annotations

import math
import numbers
from typing import Any

from tinify.errors import InputError
from tinify.spec.expressions import MAX_LENGTH

# How tightly an operator binds: what binds less stands in brackets within what binds more.
_COMPARISON, _SUM, _PRODUCT, _MINUS, _ATOM = range(5)


class Expression:
    """Arithmetic over parameters that have no values yet; ``text`` is what a spec would say.

    >>> N = Expression("N")
    >>> print(2 * (N + 1) // 3 - -N)
    2*(N + 1) // 3 - -N
    """

    def __init__(self, text: str, level: int = _ATOM) -> None:
        if len(text) > MAX_LENGTH:
            raise InputError(f"an expression has at most {MAX_LENGTH} characters; this one starts {text[:40]!r}")
        self.text, self._level = text, level

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def __bool__(self) -> bool:
        raise InputError(
            f"{self.text!r} is true or false only once its parameters have values: "
            "write the choice as text, like 'N if N > 64 else 64', and the spec makes it"
        )

    def __add__(self, other: Operand) -> Expression:
        return _join(self, " + ", other, _SUM)

    def __radd__(self, other: Operand) -> Expression:
        return _join(other, " + ", self, _SUM)

    def __sub__(self, other: Operand) -> Expression:
        return _join(self, " - ", other, _SUM)

    def __rsub__(self, other: Operand) -> Expression:
        return _join(other, " - ", self, _SUM)

    def __mul__(self, other: Operand) -> Expression:
        return _join(self, "*", other, _PRODUCT)

    def __rmul__(self, other: Operand) -> Expression:
        return _join(other, "*", self, _PRODUCT)

    def __truediv__(self, other: Operand) -> Expression:
        return _join(self, " / ", other, _PRODUCT)

    def __rtruediv__(self, other: Operand) -> Expression:
        return _join(other, " / ", self, _PRODUCT)

    def __floordiv__(self, other: Operand) -> Expression:
        return _join(self, " // ", other, _PRODUCT)

    def __rfloordiv__(self, other: Operand) -> Expression:
        return _join(other, " // ", self, _PRODUCT)

    def __mod__(self, other: Operand) -> Expression:
        return _join(self, " % ", other, _PRODUCT)

    def __rmod__(self, other: Operand) -> Expression:
        return _join(other, " % ", self, _PRODUCT)

    def __neg__(self) -> Expression:
        return Expression("-" + self.within(_MINUS), _MINUS)

    def __lt__(self, other: Operand) -> Expression:
        return _join(self, " < ", other, _COMPARISON)

    def __le__(self, other: Operand) -> Expression:
        return _join(self, " <= ", other, _COMPARISON)

    def __gt__(self, other: Operand) -> Expression:
        return _join(self, " > ", other, _COMPARISON)

    def __ge__(self, other: Operand) -> Expression:
        return _join(self, " >= ", other, _COMPARISON)

    def __eq__(self, other: Operand) -> Expression:  # type: ignore[override]
        return _join(self, " == ", other, _COMPARISON)

    def __ne__(self, other: Operand) -> Expression:  # type: ignore[override]
        return _join(self, " != ", other, _COMPARISON)

    __hash__ = None  # type: ignore[assignment]  # what == makes is no truth value

    def within(self, level: int) -> str:
        """The text, in brackets where an operator of that level would tear it apart."""
        return self.text if self._level >= level else f"({self.text})"


Operand = Expression | int | float


def _join(left: Operand, sign: str, right: Operand, level: int) -> Expression:
    # Operators of one level group from the left, and a comparison stands in brackets on either side of another.
    first = _expression(left).within(max(level, _SUM))
    return Expression(f"{first}{sign}{_expression(right).within(level + 1)}", level)


def _expression(value: Any) -> Expression:
    if isinstance(value, Expression):
        return value
    if isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, numbers.Integral):
        text = str(int(value))
    elif isinstance(value, numbers.Real) and math.isfinite(value):
        text = str(float(value))
    else:
        raise InputError(f"an expression is made of finite numbers and symbolic parameters; got {value!r}")
    return Expression(text, _MINUS if text.startswith("-") else _ATOM)
