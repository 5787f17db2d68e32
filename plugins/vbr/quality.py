"""What may stand where a quality does."""

from __future__ import annotations

import math

from tinify.errors import InputError


class InputScale(float):
    """A gain itself, in the place of a quality: ``model.compress(x, quality=InputScale(0.3))``.

    Raises :class:`~tinify.errors.InputError` for one that is not positive and finite.

    >>> InputScale(0.3)
    0.3
    """

    def __new__(cls, gain: float) -> InputScale:
        if not 0 < float(gain) < math.inf:
            raise InputError(f"input scale {gain}: expected a positive number")
        return super().__new__(cls, gain)
