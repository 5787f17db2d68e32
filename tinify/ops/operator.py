"""Definitions as operators of torch, in whose place kernels may come."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

Op = TypeVar("Op", bound=Callable[..., Any])
_KEYS = ("CPU", "CUDA", "XPU", "MPS")
definitions: dict[str, Callable[..., Any]] = {}
"""What every operator is by its name, without the kernels that may stand in its place."""
_library = torch.library.Library("tinify", "FRAGMENT")  # type: ignore[no-untyped-call]


def operator(
    schema: str, fake: Callable[..., Any], *, autocast: bool = False, random: bool = False
) -> Callable[[Op], Op]:
    """Makes a definition the operator ``tinify::NAME`` of torch; ``fake`` returns empty tensors like its results.

    With ``autocast`` it takes tensors in autocast's type where that is on, as torch's convolutions do; ``random`` says
    that it draws from torch's generators. ``torch.library.custom_op`` would do the same, and import half of torch's
    compiler at the first call.
    """
    tags = (torch.Tag.nondeterministic_seeded,) if random else ()

    def made(definition: Op) -> Op:
        name = _library.define(schema, tags=tags).partition("(")[0].rpartition("::")[2]  # type: ignore[no-untyped-call]
        _library.impl(name, definition, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
        torch.library.register_fake(f"tinify::{name}", fake, lib=_library)
        definitions[name] = definition
        defined = getattr(torch.ops.tinify, name).default

        @wraps(definition)
        def call(*arguments: Any, **options: Any) -> Any:
            device = arguments[0].device.type
            if autocast and torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
                kind = torch.get_autocast_dtype(device)
                arguments = tuple(one.to(kind) if isinstance(one, Tensor) else one for one in arguments)
            return defined(*arguments, **options)

        return cast(Op, call)

    return made


def has_kernel(name: str, device: torch.device) -> bool:
    """Whether a kernel stands in the place of the operator ``tinify::NAME`` on that type of device."""
    key = device.type.upper()
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(f"tinify::{name}", key)) if key in _KEYS else False


def gradient(name: str, setup: Callable[..., None], backward: Callable[..., Any]) -> None:
    """Gives the operator ``tinify::NAME`` a gradient, as ``torch.library.register_autograd`` takes it."""
    torch.library.register_autograd(f"tinify::{name}", backward, setup_context=setup, lib=_library)
