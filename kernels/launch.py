"""What every launch of a Triton kernel needs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps
from inspect import unwrap
from typing import Any, TypeVar, cast

import torch
import triton.language as tl
from torch import Tensor
from triton import knobs

Op = TypeVar("Op", bound=Callable[..., Any])
_FLOATS = torch.float32, torch.float16, torch.bfloat16

INTERPRETED: bool = knobs.runtime.interpret
"""Whether kernels run under Triton's interpreter, on the CPU."""


def instead_of(definition: Callable[..., Any]) -> Callable[[Op], Op]:
    """Says of which operator a function is the kernel.

    It is for float32, float16 and bfloat16, with sums of float32; tensors of other types are left to the definition.
    """

    def made(kernel: Op) -> Op:
        @wraps(kernel)
        def call(*arguments: Any) -> Any:
            return (kernel if arguments[0].dtype in _FLOATS else unwrap(definition))(*arguments)

        call.__doc__ = unwrap(definition).__doc__
        return cast(Op, call)

    return made


def blocks(count: int, size: int) -> int:
    """How many blocks of ``size`` it takes for ``count``."""
    return -(-count // size)


def index_type(x: Tensor) -> tl.dtype:
    """What counts the elements of ``x``: 64 bits only where 32 will not do."""
    return tl.int32 if x.numel() < 2**31 else tl.int64


def device_of(x: Tensor) -> AbstractContextManager[None]:
    """Launches inside go to the GPU that ``x`` is on; nothing where it is on none, as under Triton's interpreter."""
    return torch.cuda.device_of(x)


def planes(x: Tensor) -> Tensor:
    """``x`` itself if it lies contiguously, channels first or last; else a copy that does."""
    if x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last):
        return x
    return x.contiguous()


def dense(x: Tensor) -> Tensor:
    """``x`` itself if it fills its memory without gaps, in whatever order of axes; else a copy that does."""
    return x if torch.ops.aten.is_non_overlapping_and_dense(x) else torch.empty_like(x).copy_(x)
