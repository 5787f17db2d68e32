"""Models through ``torch.compile``, with an error that says what is missing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from tinify.errors import InputError


def compiled(model: nn.Module) -> Callable[..., Any]:
    """Calls ``model``, whose weights and their names stay its own, in compiled form.

    The first call compiles; it raises :class:`~tinify.errors.InputError` where PyTorch finds no compiler.
    """
    quick = torch.compile(model)

    def call(*arguments: Any, **options: Any) -> Any:
        try:
            return quick(*arguments, **options)
        except Exception as error:
            if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
                raise
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            hint = "install a C++ compiler (g++, or Triton on a GPU), or leave --compile out"
            raise InputError(f"torch.compile cannot compile this model here: {reason}; {hint}") from error

    return call
