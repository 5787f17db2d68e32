"""Operations that every machine computes alike: those that move numbers, and those that round once for each element.

IEEE 754 leaves no choice in what rounds once. It leaves one in sums, whose order differs, in functions such as exp,
which every library approximates in its own way, and in kernels of several operations, which may keep the product before
a sum unrounded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tinify.ops.operator import definitions

MOVES = frozenset({
    "_local_scalar_dense", "_reshape_alias", "_to_copy", "_unsafe_view", "alias", "as_strided", "cat", "clone",
    "constant_pad_nd", "copy", "detach", "diagonal", "empty", "empty_like", "empty_strided", "expand", "fill",
    "flip", "full", "full_like", "gather", "im2col", "index", "index_put", "index_select", "lift", "lift_fresh",
    "lift_fresh_copy", "masked_fill", "masked_select", "new_empty", "new_empty_strided", "new_full", "new_ones",
    "new_zeros", "ones", "ones_like", "permute", "pixel_shuffle", "pixel_unshuffle", "reflection_pad2d",
    "repeat", "replication_pad2d", "resize", "roll", "scalar_tensor", "select", "slice", "split",
    "split_with_sizes", "squeeze", "stack", "t", "transpose", "tril", "triu", "unbind", "unfold", "unsqueeze",
    "view", "where", "zero", "zeros", "zeros_like",
})  # fmt: skip
"""Numbers stay as they are, or are rounded to another type."""
ROUNDS = frozenset({
    "_prelu_kernel", "abs", "add", "all", "amax", "amin", "any", "bucketize", "ceil", "clamp", "clamp_max",
    "clamp_min", "div", "eq", "equal", "floor", "frexp", "ge", "gt", "hardtanh", "isinf", "isnan", "le",
    "leaky_relu", "logical_and", "logical_not", "logical_or", "lt", "max", "maximum", "min", "minimum", "mul",
    "nan_to_num", "ne", "neg", "relu", "round", "rsub", "searchsorted", "sign", "sqrt", "sub", "threshold",
    "trunc",
})  # fmt: skip
"""Each number is the outcome of one operation, rounded once or not at all, or is chosen by comparisons."""
FLOATS = frozenset({torch.float32, torch.float64})


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Lets pass what every machine computes alike; a subclass says what becomes of other operations.

    Of tinify's own operators the definition runs, whatever kernel stands in its place.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch would import its compiler at the first operation, to keep it out of here

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def otherwise(self, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of an operation that does not pass, or an error that names it."""
        raise NotImplementedError

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if passes(func, args, kwargs):
            return func(*args, **kwargs)
        if torch.Tag.nondeterministic_seeded not in func.tags and not any(map(_inexact, tensors((args, kwargs)))):
            made = func(*args, **kwargs)
            if not any(map(_inexact, tensors(made))):  # integers come from integers
                return made
        with self:
            if func.namespace == "tinify":
                return definitions[func.overloadpacket.__name__](*args, **kwargs)
            made = func.decompose(*args, **kwargs)  # under inference_mode, composites come as they are
        return self.otherwise(func, args, kwargs) if made is NotImplemented else made


def passes(func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether an operation is one of those that every machine computes alike.

    >>> x = torch.ones(1)
    >>> add = torch.ops.aten.add.Tensor
    >>> passes(add, (x, x), {}), passes(add, (x, x), {"alpha": 3}), passes(torch.ops.aten.exp.default, (x,), {})
    (True, False, False)
    """
    name = name_of(func)
    if func.namespace != "aten" or name not in MOVES | ROUNDS:
        return False
    if name in MOVES:
        return name != "index_put" or not (args[3:] or kwargs.get("accumulate"))
    return _rounds_once(name, args, kwargs) and not foreign(args, kwargs)


def name_of(func: OpOverload) -> str:
    """An operation's name without its overload, and without the underscore of what is done in place."""
    return str(func.overloadpacket.__name__).rstrip("_")


def foreign(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[torch.dtype]:
    """Types among the arguments whose arithmetic is not that of one IEEE operation: half precision, complex numbers."""
    return [one.dtype for one in tensors((args, kwargs)) if _inexact(one) and one.dtype not in FLOATS]


def tensors(tree: Any) -> Iterator[Tensor]:
    """All tensors among arguments or results."""
    return (leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))


def _rounds_once(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    if name in ("add", "sub", "rsub"):
        return _is_power_of_two(kwargs.get("alpha", args[2] if len(args) > 2 else 1))
    if name == "div":
        # CUDA multiplies by the reciprocal of a number that the processor holds.
        held = not isinstance(args[1], Tensor) or (args[1].ndim == 0 and args[1].device.type == "cpu")
        return kwargs.get("rounding_mode") is None and (not held or _is_power_of_two(args[1]))
    if name in ("max", "min"):
        return len(args) == 1  # with a dimension, it also says which of several equal ones
    return "decimals" not in kwargs


def _is_power_of_two(number: Any) -> bool:
    return abs(math.frexp(number)[0]) == 0.5


def _inexact(x: Tensor) -> bool:
    return x.is_floating_point() or x.is_complex()
