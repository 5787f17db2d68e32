"""The arithmetic of a float network from operations that leave no choice, so that every machine gives the same bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload

from tinify.errors import InputError
from tinify.exact.elementary import exp, sigmoid, softplus, tanh
from tinify.exact.operations import Operations, foreign, name_of
from tinify.exact.sums import addmm, convolution, mean, mm, total


@contextmanager
def reproducible() -> Iterator[None]:
    """What runs inside gives the same bits on every machine, for the same bits that go in; without gradients.

    Sums of products are exact, and functions are approximated here: results differ from those of floats outside by as
    much as these differ from machine to machine. A batch item's result is the same in every batch. Raises
    :class:`~tinify.errors.InputError` for an operation without such a form, and for half precision. What does not run
    in torch, or in threads of its own, is not seen.

    >>> with reproducible():
    ...     torch.nn.functional.linear(torch.ones(1, 2), torch.tensor([[0.5, 0.25]])).item()
    0.75
    """
    with torch.no_grad(), torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False), _Reproducible():
        yield


class Reproduced(nn.Module):
    """A module of floats that computes reproducibly: an exact form of networks too small for their speed to matter.

    >>> Reproduced(torch.nn.Softplus())(torch.zeros(1)).item() == torch.tensor(2.0).log().item()
    True
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        with reproducible():
            return self.module(*args, **kwargs)

    def thawed(self) -> dict[str, Tensor]:
        """The parameters of the module."""
        return dict(self.module.named_parameters())


class _Reproducible(Operations):  # type: ignore[no-untyped-call]
    def otherwise(self, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        definition = DEFINITIONS.get(name_of(func)) if func.namespace == "aten" else None
        types = foreign(args, kwargs)
        if definition is None or types:
            of = f" of {types[0]}" if types else ""
            raise InputError(f"{func.overloadpacket}{of} has no reproducible form")
        kwargs = dict(kwargs)
        out = kwargs.pop("out", None)
        out = args[0] if func.overloadpacket.__name__.endswith("_") else out
        made = definition(*args, **kwargs)
        return made if out is None else out.resize_(made.shape).copy_(made)


def _add(x: Any, other: Any, alpha: float = 1) -> Any:
    return x + other * alpha


def _subtract(x: Any, other: Any, alpha: float = 1) -> Any:
    return x - other * alpha


def _addcmul(x: Tensor, a: Tensor, b: Tensor, *, value: float = 1) -> Tensor:
    return x + (a * b) * value


def _addcdiv(x: Tensor, a: Tensor, b: Tensor, *, value: float = 1) -> Tensor:
    return x + (a / b) * value


def _lerp(start: Tensor, end: Tensor, weight: Any) -> Any:
    return start + (end - start) * weight


def _divide(x: Tensor, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    if rounding_mode is not None:
        raise InputError(f"a division of floats rounded by {rounding_mode!r} has no reproducible form")
    kind = torch.result_type(x, other)
    kind = kind if kind.is_floating_point else torch.get_default_dtype()
    return torch.div(x, torch.as_tensor(other, dtype=kind, device=x.device))


def _reciprocal(x: Tensor) -> Tensor:
    return torch.ones_like(x) / x


def _rsqrt(x: Tensor) -> Tensor:
    return _reciprocal(x.sqrt())


def _power(x: Tensor, exponent: Any) -> Tensor:
    if exponent == 2:
        return torch.mul(x, x)
    if exponent == 0.5:
        return torch.sqrt(x)
    raise InputError(f"the power of {exponent} has no reproducible form: there are those of 2 and 0.5")


DEFINITIONS: dict[str, Callable[..., Any]] = {
    "add": _add,
    "addcdiv": _addcdiv,
    "addcmul": _addcmul,
    "addmm": addmm,
    "baddbmm": addmm,
    "bmm": mm,
    "convolution": convolution,
    "div": _divide,
    "exp": exp,
    "lerp": _lerp,
    "mean": mean,
    "mm": mm,
    "pow": _power,
    "reciprocal": _reciprocal,
    "rsqrt": _rsqrt,
    "rsub": lambda x, other, alpha=1: _subtract(other, x, alpha),
    "sigmoid": sigmoid,
    "softplus": softplus,
    "sub": _subtract,
    "sum": total,
    "tanh": tanh,
}
"""Forms of single operations and exact sums, by the name of the operation in aten."""
