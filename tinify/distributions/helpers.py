"""Where a distribution is best rounded, and where its tails begin."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tinify.errors import InputError

_DOUBLINGS, _HALVINGS = 120, 100


def estimate_tails(
    func: Callable[[Tensor], Tensor], target: Tensor | float, shape: Any, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Where a monotone function of each element reaches ``target``, by bisection; of that shape and dtype.

    Of a function that jumps over the target, where it jumps. Raises :class:`~tinify.errors.InputError` for one that is
    NaN or never gets there.

    >>> estimate_tails(torch.tanh, 0.5, (2,), torch.float64).tanh().tolist()
    [0.5, 0.5]
    """
    with torch.no_grad():
        target, high = torch.as_tensor(target, dtype=dtype), torch.ones(shape, dtype=dtype)
        for _ in range(_DOUBLINGS):
            ends = func(-high), func(high)
            found = (torch.minimum(*ends) < target) & (target < torch.maximum(*ends))
            if found.all():
                break
            high = torch.where(found, high, 2 * high)
        else:
            raise InputError(
                f"the function does not reach {target.flatten()[:4].tolist()}, or is NaN: are the parameters finite?"
            )
        rises, low = ends[1] > ends[0], -high
        for _ in range(_HALVINGS):
            middle = low + (high - low) / 2
            reached = torch.where(rises, func(middle) >= target, func(middle) <= target)
            low, high = torch.where(reached, low, middle), torch.where(reached, middle, high)
        return high


def quantization_offset(distribution: Any) -> Tensor:
    """How far from an integer the distribution's centre lies, in [-0.5, 0.5], of its batch shape; without gradient.

    The centre is the first that there is of its own ``_quantization_offset()``, the mode, the median and the mean; 0
    where there is none. Values rounded to the integers shifted by it cost fewest bits, if the density is narrow.

    >>> from tinify.distributions import NoisyNormal
    >>> round(quantization_offset(NoisyNormal(torch.tensor(2.75), torch.tensor(1.0))).item(), 3)
    -0.25
    """
    ways: tuple[Callable[[], Any], ...] = (
        lambda: distribution._quantization_offset(),
        lambda: distribution.mode,
        lambda: distribution.icdf(torch.tensor(0.5)),
        lambda: distribution.mean,
    )
    centre = _first(ways)
    if centre is None:
        return torch.zeros(distribution.batch_shape)
    centre = centre.detach()
    return (centre - torch.round(centre)).expand(distribution.batch_shape)


def lower_tail(distribution: Any, tail_mass: float) -> Tensor:
    """The value below which half of ``tail_mass`` lies, of the batch shape; without gradient.

    Raises :class:`~tinify.errors.InputError` for a mass that is not between 0 and 1.
    """
    return _tail(distribution, tail_mass, "_lower_tail", "log_cdf")


def upper_tail(distribution: Any, tail_mass: float) -> Tensor:
    """The value above which half of ``tail_mass`` lies, as :func:`lower_tail`."""
    return _tail(distribution, tail_mass, "_upper_tail", "log_survival_function")


def _tail(distribution: Any, tail_mass: float, own: str, name: str) -> Tensor:
    if not 0 < tail_mass < 1:
        raise InputError(f"tail_mass {tail_mass!r}: expected a probability between 0 and 1")
    with torch.no_grad():
        found = _first((lambda: getattr(distribution, own)(tail_mass),))
        if found is None:
            centre = quantization_offset(distribution)
            log_mass = math.log(tail_mass / 2)
            dtype, device = centre.dtype, centre.device
            solved = estimate_tails(
                lambda x: getattr(distribution, name)(x.to(device)).cpu(), log_mass, distribution.batch_shape, dtype
            )
            found = solved.to(device)
        return found.detach().expand(distribution.batch_shape)


def _first(ways: tuple[Callable[[], Any], ...]) -> Tensor | None:
    """What the first of some ways gives that a distribution knows."""
    for way in ways:
        try:
            return torch.as_tensor(way())
        except (AttributeError, NotImplementedError):
            continue
    return None
