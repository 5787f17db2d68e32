"""Functions of one number from single operations of IEEE 754 in float64, so that no library has a say in them.

Each is the same polynomial, by Horner's rule, of the same reduced number; results are good to 1e-14 or so, and are
rounded to the type of the argument in the end.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_DEGREE = 13
_HYPERBOLIC = 17  # terms, of a number up to a third
_LOG2_E = 1 / math.log(2)
# The logarithm of two in parts, of which the first has so few bits that its product with an exponent is exact.
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_FAR = 700.0  # here, every function is at its end in float32, and the power of two still is a normal number


def exp(x: Tensor) -> Tensor:
    """The exponential function, like ``x``.

    >>> exp(torch.tensor([0.0, 1.0])).tolist() == [1.0, torch.tensor(math.e).item()]
    True
    """
    power, rest = _reduced(x.double())
    return (power * rest + power).to(x.dtype)


def sigmoid(x: Tensor) -> Tensor:
    """The logistic function, like ``x``."""
    power, rest = _reduced(-x.double())
    below = power * rest + power + 1
    return (torch.ones_like(below) / below).to(x.dtype)


def tanh(x: Tensor) -> Tensor:
    """The hyperbolic tangent, like ``x``; next to zero, it loses nothing."""
    wide = x.double()
    power, rest = _reduced(wide.abs() * -2)
    less = power * rest + (power - 1)  # exp(-2 |x|) - 1
    size = -less / (less + 2)
    return torch.where(wide < 0, -size, size).to(x.dtype)


def softplus(x: Tensor, beta: float = 1, threshold: float = 20) -> Tensor:
    """``log(1 + exp(beta * x)) / beta``, like ``x``; ``x`` itself where ``beta * x`` is above the threshold.

    The logarithm is twice the inverse hyperbolic tangent of ``s = u / (2 + u)``, with ``u = exp(-|beta * x|)``.
    """
    wide = x.double() * beta
    power, rest = _reduced(-wide.abs())
    below = power * rest + power
    s = below / (below + 2)
    square = s * s
    series = torch.full_like(s, 1 / (2 * _HYPERBOLIC + 1))
    for term in range(_HYPERBOLIC - 1, -1, -1):
        series = series.mul_(square).add_(1 / (2 * term + 1))
    made = (wide.clamp(min=0) + s * series * 2) / torch.full_like(wide, beta)
    return torch.where(wide > threshold, x, made.to(x.dtype))


def softmax(x: Tensor) -> Tensor:
    """Exponentials over their sum along the second axis, which is added up from its first item on, like ``x``."""
    powers = exp((x - x.amax(1, keepdim=True)).double())
    total = powers[:, 0]
    for one in powers.unbind(1)[1:]:
        total = total + one
    return (powers / total[:, None]).to(x.dtype)


def _reduced(x: Tensor) -> tuple[Tensor, Tensor]:
    """``p``, a power of two, and ``q`` with ``exp(x) = p * (1 + q)``; float64."""
    x = x.clamp(-_FAR, _FAR)
    exponent = torch.round(x * _LOG2_E)
    rest = x - exponent * _LN2_HIGH - exponent * _LN2_LOW
    series = torch.full_like(x, 1 / math.factorial(_DEGREE))
    for degree in range(_DEGREE - 1, 0, -1):
        series = series.mul_(rest).add_(1 / math.factorial(degree))
    power = (exponent.nan_to_num().long() + 1023 << 52).view(torch.float64)
    return power, series * rest
