"""From numbers to integers: what stands before every sum of products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE_BITS = 14
"""A slope below zero is a multiple of 2^-14: coarser ones tell 0.01 from the next only by a fifth."""


class Entry(nn.Module):
    """Rounds each channel to integers of a step of its own, a power of two, and clamps them; perhaps a leaky ReLU.

    ``forward(x)`` takes (batch, channels, ...) and returns integers in float32, channels last:
    ``clamp(round(x * 2**exponent), low, high)``, half to even, where negative ones are then multiplied by ``slope``
    times 2^-14 and rounded again, half to even: rounding down would shift the mean of what a layer adds up. Slope 16384
    changes nothing, and 0 is QReLU (Ballé, Johnston, Minnen: Integer Networks for Data Compression with Latent-Variable
    Models, ICLR 2019, section 3), which ``low = 0`` says as well.

    >>> entry = Entry(1)
    >>> entry.set(exponent=[2], low=[-8], high=[100], slope=4096)
    >>> entry(torch.tensor([[-4.0], [-1.0], [0.3], [99.0]])).flatten().tolist()
    [-2.0, -1.0, 1.0, 100.0]
    """

    exponent: Tensor
    low: Tensor
    high: Tensor
    slope: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("exponent", torch.zeros(channels, dtype=torch.int8))
        self.register_buffer("low", torch.zeros(channels, dtype=torch.int32))
        self.register_buffer("high", torch.zeros(channels, dtype=torch.int32))
        self.register_buffer("slope", torch.tensor(1 << SLOPE_BITS, dtype=torch.int16))
        self._floats: tuple[Any, ...] | None = None

    @torch.no_grad()
    def set(self, exponent: Any, low: Any, high: Any, slope: int = 1 << SLOPE_BITS) -> None:
        """Takes other integers: exponents and limits by channel, and the slope in 256ths."""
        for name, value in (("exponent", exponent), ("low", low), ("high", high), ("slope", slope)):
            getattr(self, name).copy_(torch.as_tensor(value))
        self._floats = None

    @property
    def reach(self) -> tuple[Tensor, Tensor]:
        """How far each channel's integers go below zero, and above, int64."""
        low, high = (limit.long() for limit in (self.low, self.high))
        ends = torch.stack([low * self.slope.long() >> SLOPE_BITS, low.clamp(min=0), high.clamp(max=0), high])
        return (-ends).amax(0).clamp(min=0), ends.amax(0).clamp(min=0)

    def forward(self, x: Tensor) -> Tensor:
        return self.integers(x.movedim(1, -1) if x.ndim > 2 else x)

    def integers(self, x: Tensor) -> Tensor:
        """The same of (..., channels)."""
        scale, low, high, slope = self.floats()
        # A copy of its own for what follows in place; the layout is that of the indexes. Rounding has no gradient.
        a = torch.mul(x.detach().float(), scale, out=x.new_empty(x.shape, dtype=torch.float32))
        a = torch.maximum(torch.minimum(a.round_(), high, out=a), low, out=a)
        return a if slope in (0, 1) else F.leaky_relu_(a, slope).round_()

    def part(self, first: int, end: int) -> Entry:
        """That of the channels from ``first`` to ``end`` alone: a copy."""
        part = Entry(end - first).to(self.exponent.device)
        part.set(self.exponent[first:end], self.low[first:end], self.high[first:end], int(self.slope))
        return part

    def floats(self) -> tuple[Tensor, Tensor, Tensor, float]:
        """Scale, limits and slope as numbers to compute with."""
        if self._floats is None or self._floats[0].device != self.exponent.device:
            slope = 1.0 if self.slope.is_meta else int(self.slope) / (1 << SLOPE_BITS)
            low = self.low if slope else self.low.clamp(min=0)  # so that nothing is left to multiply by zero
            self._floats = power_of_two(self.exponent), low.float(), self.high.float(), slope
        return self._floats

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        # The entry of an activation does not know its channels before.
        for name in ("exponent", "low", "high") if not len(self.exponent) else ():
            saved = state_dict.get(prefix + name)
            if isinstance(saved, Tensor):
                setattr(self, name, torch.empty_like(saved, device=self.exponent.device).to(getattr(self, name).dtype))
        super()._load_from_state_dict(state_dict, prefix, *args)
        self._floats = None

    def _apply(self, *args: Any, **kwargs: Any) -> Any:
        self._floats = None
        return super()._apply(*args, **kwargs)  # type: ignore[no-untyped-call]


class ExactActivation(nn.Module):
    """A ReLU or leaky ReLU between other layers than those that have an entry: integers and back."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.entry = Entry(channels)

    def forward(self, x: Tensor) -> Tensor:
        a: Tensor = self.entry(x).mul_(power_of_two(-self.entry.exponent))
        return a.movedim(-1, 1) if x.ndim > 2 else a


def power_of_two(exponent: Tensor | Sequence[int]) -> Tensor:
    """``2.0 ** exponent``, exactly, float32: written as the number's own bits."""
    bits = torch.as_tensor(exponent).int() + 127 << 23
    return bits.view(torch.float32)
