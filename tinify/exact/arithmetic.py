"""Sums of products of integers, in three carriers that give the same integers.

A float32 holds every integer below 2^24. Where both the sum of all positive products and that of all negative ones
stay below that, every partial sum is such an integer, so no order, no blocking, no fused operation and no number of
threads can change the result. What could change it is arithmetic that is not float32 at all (TF32, bfloat16, float16),
or an algorithm that multiplies something else (Winograd, FFT): sums here are plain matrix products, so that the second
cannot happen, and the first is switched off meanwhile and looked for by :func:`probe`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from functools import lru_cache, partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from tinify.errors import InputError

Carrier = Literal["float32", "float64", "integer"]
CARRIERS: tuple[str, ...] = get_args(Carrier)

LIMIT = 2**24
"""What the magnitudes of sums stay below: that of the narrowest carrier."""
INPUT_LIMIT = 2**15 - 2**7 - 1
"""The largest magnitude of an input: two digits of eight bits hold it."""
WEIGHT_LIMIT = 2**13 - 1
"""The largest magnitude of a weight: two digits of seven bits hold it."""

_PIECE = 2**14
"""Inputs of a sum of products of digits: more could leave int32."""
within_limits: ContextVar[bool] = ContextVar("within_limits", default=False)
"""Whether the sums of products at hand are known to be exact."""


@contextmanager
def plain_arithmetic(device: torch.device) -> Iterator[None]:
    """Matrix products of float32 are products of float32 meanwhile: no autocast, no TF32, no bfloat16.

    It is for integers within the limits alone.
    """
    restore = _shortened()
    if restore:
        torch.set_float32_matmul_precision("highest")
    automatic = torch.amp.is_autocast_available(device.type)
    known = within_limits.set(True)
    try:
        with torch.autocast(device.type, enabled=False) if automatic else nullcontext():
            yield
    finally:
        within_limits.reset(known)
        for one in restore:
            one()


def _shortened() -> list[Callable[[], None]]:
    """What sets the precision of float32 products as it is now; nothing where it is that of float32."""
    try:
        before = torch.get_float32_matmul_precision()
        return [] if before == "highest" else [partial(torch.set_float32_matmul_precision, before)]
    except RuntimeError:  # newer versions have a setting for each library, and then refuse to say one for all
        libraries: Any = torch.backends
        parts = libraries.cuda.matmul, libraries.mkldnn.matmul
        return [partial(setattr, part, "fp32_precision", part.fp32_precision) for part in parts]


def products(a: Tensor, weight: Tensor, carrier: str = "float32") -> Tensor:
    """``a @ weight`` of integers: (n, inputs) times (inputs, outputs), float32; the sums are exact below ``LIMIT``.

    ``a`` holds integers in float32 of at most ``INPUT_LIMIT``, ``weight`` is int16 of at most ``WEIGHT_LIMIT``.

    >>> a, weight = torch.tensor([[3.0, -200.0]]), torch.tensor([[1000], [7]], dtype=torch.int16)
    >>> [products(a, weight, carrier).item() for carrier in CARRIERS]
    [1600.0, 1600.0, 1600.0]
    """
    if carrier == "integer":
        return integer_products(a, digits(weight)).float()
    if carrier not in CARRIERS:
        raise InputError(f"carrier {carrier!r}: expected one of {', '.join(CARRIERS)}")
    dtype = getattr(torch, carrier)
    with plain_arithmetic(a.device):
        return torch.addmm(a.new_zeros(weight.shape[1], dtype=dtype), a.to(dtype), weight.to(dtype)).float()


def digits(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weights as two digits of seven bits, int8: ``128 * high + low``.

    Seven, because processors without instructions for it add two products of eight bits in an int16, which would
    saturate.
    """
    wide = weight.int()
    low = torch.remainder(wide + 64, 128) - 64
    return ((wide - low) // 128).to(torch.int8), low.to(torch.int8)


def integer_products(a: Tensor, weight: tuple[Tensor, Tensor]) -> Tensor:
    """The sums of :func:`products` in int32, from products of int8 by int8."""
    wide = a.int()
    low = torch.remainder(wide + 128, 256) - 128
    high = (wide - low) // 256
    total: Tensor | None = None
    for factor, x, w in ((128 * 256, high, 0), (256, high, 1), (128, low, 0), (1, low, 1)):
        part = factor * _int8_products(x.to(torch.int8), weight[w]).long()
        total = part if total is None else total + part
    assert total is not None
    return total.int()


def _int8_products(a: Tensor, weight: Tensor) -> Tensor:
    pieces = zip(torch.split(a, _PIECE, 1), torch.split(weight, _PIECE), strict=True)
    return sum((_int_mm(x, w) for x, w in pieces), torch.zeros((), dtype=torch.int))


def _int_mm(a: Tensor, weight: Tensor) -> Tensor:
    rows, inputs, outputs = len(a), a.shape[1], weight.shape[1]
    if a.device.type == "cuda":  # there, sides have to be multiples of 8, and more than 16 rows
        a = torch.nn.functional.pad(a, (0, -inputs % 8, 0, max(24 - rows, -rows % 8)))
        weight = torch.nn.functional.pad(weight, (0, -outputs % 8, 0, -inputs % 8))
    return torch._int_mm(a.contiguous(), weight.contiguous())[:rows, :outputs]


@lru_cache(maxsize=16)
def probe(device: torch.device, carrier: str) -> bool:
    """Whether a device's sums are exact in a carrier: tried once on products that shorter arithmetic would round.

    >>> probe(torch.device("cpu"), "float32")
    True
    """
    place = torch.arange(96 * 64)
    a = (place * 2654435761 % 65521 % 4095 - 2047).reshape(96, 64)
    weight = (place * 40503 % 65521 % 255 - 127).reshape(64, 96)
    wanted = (a[:, :, None] * weight).sum(1)  # of int64, without a matrix product
    try:
        found = products(a.float().to(device), weight.to(torch.int16).to(device), carrier)
    except RuntimeError:  # there is no such product
        return False
    return torch.equal(found.cpu().long(), wanted)
