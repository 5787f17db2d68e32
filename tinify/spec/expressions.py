"""Arithmetic in specs: parsed by ``ast`` and interpreted over a whitelist, never evaluated as Python."""

from __future__ import annotations

import ast
import operator
import warnings
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

MAX_LENGTH, MAX_VALUE = 256, 2**40
_ALLOWED = (
    "allowed: numbers, names, + - * / // %, comparisons, and or not, a if c else b, x[i], x[i:j], "
    "min max abs len sum round"
)


class ExpressionError(Exception):
    """What is wrong with an expression, at which column (from 0), and a hint."""

    def __init__(self, message: str, column: int = 0, hint: str = "") -> None:
        super().__init__(message, column, hint)
        self.message, self.column, self.hint = message, column, hint


class UnknownValue(ExpressionError):  # noqa: N818 - it is no error of this expression
    """The expression uses a name whose own value is in error already."""


def _divide(a: Any, b: Any) -> Any:
    exact = isinstance(a, int) and isinstance(b, int) and a % b == 0
    return a // b if exact else a / b


_BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: _divide,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARE: dict[type, Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {"min": min, "max": max, "abs": abs, "len": len, "sum": sum, "round": round}
_ONE_ARGUMENT = {"abs", "len", "sum", "round"}


def evaluate(text: str, names: Mapping[str, Any]) -> Any:
    """The value of an expression over ``names`` (numbers, truth values, lists of numbers; None for one in error).

    Raises :class:`ExpressionError`.

    >>> evaluate("3*N // 2 if N > 4 else groups[0]", {"N": 5, "groups": [16, 32]})
    7
    """
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"an expression has at most {MAX_LENGTH} characters")
    source = text.lstrip()
    indent = len(text) - len(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source, mode="eval").body
        return _Interpreter(names, indent).value(tree)
    except SyntaxError as error:
        raise ExpressionError(
            f"cannot read the expression {text!r}", indent + max((error.offset or 1) - 1, 0)
        ) from None
    except (ValueError, RecursionError, MemoryError):
        raise ExpressionError(f"cannot read the expression {text[:40]!r}") from None


class _Interpreter:
    def __init__(self, names: Mapping[str, Any], indent: int) -> None:
        self.names, self.indent = names, indent

    def value(self, node: ast.expr) -> Any:
        visit = getattr(self, f"_{type(node).__name__.lower()}", None)
        if visit is None:
            raise self.strange(node)
        try:
            value = visit(node)
        except ZeroDivisionError:
            raise self.error(node, "division by zero") from None
        except (TypeError, ValueError, IndexError, OverflowError) as error:
            raise self.error(node, str(error)) from None
        if isinstance(value, int | float) and not abs(value) <= MAX_VALUE:
            raise self.error(node, f"the value {value:.3g} is out of range", f"at most {MAX_VALUE:.3g} either way")
        return value

    def error(self, node: ast.expr, message: str, hint: str = "") -> ExpressionError:
        return ExpressionError(message, self.indent + node.col_offset, hint)

    def strange(self, node: ast.expr) -> ExpressionError:
        return self.error(node, f"{ast.unparse(node)!r} is not part of the language", _ALLOWED)

    def number(self, node: ast.expr) -> Any:
        value = self.value(node)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(node, f"arithmetic needs numbers, got {value!r}")
        return value

    def _constant(self, node: ast.Constant) -> Any:
        if not isinstance(node.value, bool | int | float):
            raise self.strange(node)
        return node.value

    def _name(self, node: ast.Name) -> Any:
        if node.id in ("true", "false"):
            return node.id == "true"
        if node.id not in self.names:
            near = get_close_matches(node.id, [*self.names], 1, 0.6)
            known = f"parameters: {', '.join(self.names)}" if self.names else "the spec has no parameters"
            raise self.error(node, f"unknown name {node.id!r}", f"did you mean {near[0]!r}?" if near else known)
        if self.names[node.id] is None:
            raise UnknownValue(f"{node.id} is in error")
        return self.names[node.id]

    def _binop(self, node: ast.BinOp) -> Any:
        if type(node.op) not in _BINARY:
            raise self.strange(node)
        return _BINARY[type(node.op)](self.number(node.left), self.number(node.right))

    def _unaryop(self, node: ast.UnaryOp) -> Any:
        if isinstance(node.op, ast.Not):
            return not self.value(node.operand)
        if isinstance(node.op, ast.USub):
            return -self.number(node.operand)
        if isinstance(node.op, ast.UAdd):
            return self.number(node.operand)
        raise self.strange(node)

    def _boolop(self, node: ast.BoolOp) -> bool:
        values = (bool(self.value(part)) for part in node.values)
        return all(values) if isinstance(node.op, ast.And) else any(values)

    def _compare(self, node: ast.Compare) -> bool:
        values = [self.value(part) for part in (node.left, *node.comparators)]
        for test, left, right in zip(node.ops, values, values[1:], strict=False):
            if type(test) not in _COMPARE:
                raise self.strange(node)
            if not _COMPARE[type(test)](left, right):
                return False
        return True

    def _ifexp(self, node: ast.IfExp) -> Any:
        return self.value(node.body if self.value(node.test) else node.orelse)

    def _call(self, node: ast.Call) -> Any:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name not in _FUNCTIONS or node.keywords:
            raise self.strange(node)
        if name in _ONE_ARGUMENT and len(node.args) != 1:
            raise self.error(node, f"{name} takes one argument")
        return _FUNCTIONS[name](*[self.value(part) for part in node.args])

    def _subscript(self, node: ast.Subscript) -> Any:
        listing = self.value(node.value)
        if not isinstance(listing, list):
            raise self.error(node, f"only a list has parts, got {listing!r}")
        if isinstance(node.slice, ast.Slice):
            if node.slice.step:
                raise self.error(node, "a slice has no step", _ALLOWED)
            ends = (node.slice.lower, node.slice.upper)
            return listing[slice(*[None if end is None else self.value(end) for end in ends])]
        return listing[self.value(node.slice)]
