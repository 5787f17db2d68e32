"""Autocast to half types, and the loss scaling that float16 needs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tinify.errors import InputError

_TYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}

# As in Micikevicius et al.: Mixed Precision Training, ICLR 2018, section 3.2: halve on overflow, double after a while.
_FIRST, _PATIENCE = 2.0**13, 2000


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The context in which a model of a run computes."""
    return torch.autocast(device.type, _TYPES.get(precision, torch.bfloat16), enabled=precision in _TYPES)


def check_precision(device: torch.device, precision: str) -> None:
    """Raises :class:`~tinify.errors.InputError` where a device cannot train a convolution in that precision."""
    if precision not in _TYPES:
        return
    try:
        with autocast(device, precision):
            found = nn.Conv2d(4, 4, 3).to(device)(torch.ones(1, 4, 8, 8, device=device))
        found.float().sum().backward()
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{precision} cannot be trained on {device} ({reason}): use --precision float32") from error


@dataclass
class LossScale:
    """What a float16 loss is multiplied by, so that small gradients do not vanish; 1 in other precisions, always."""

    value: float = 1.0
    steps: int = 0  # since it changed

    @classmethod
    def of(cls, precision: str) -> LossScale:
        """The scale that a run begins with."""
        return cls(_FIRST if precision == "float16" else 1.0)

    def unscale_(self, gradients: list[Tensor]) -> None:
        """Divides gradients by the scale."""
        if self.value != 1:
            torch._foreach_mul_(gradients, 1 / self.value)

    def overflows(self, loss: float) -> bool:
        """Called where gradients are no numbers: whether the scale may be why; it is halved then."""
        if not math.isfinite(loss) or self.value <= 1:
            return False
        self.value, self.steps = max(1.0, self.value / 2), 0
        return True

    def grow(self) -> None:
        """Counts a good step."""
        self.steps += 1
        if self.steps >= _PATIENCE and self.value > 1:
            self.value, self.steps = min(2.0**24, self.value * 2), 0
