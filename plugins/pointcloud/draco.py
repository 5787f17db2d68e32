"""Draco, the codec of meshes and clouds that comes nearest to a standard, to compare with; by the package DracoPy."""

from __future__ import annotations

import importlib
from typing import Any

from numpy.typing import NDArray

from tinify.errors import FileError, InputError, MissingPackageError

from .clouds import Cloud, Points

BITS = range(1, 31)
LEVELS = range(11)


def encode(points: Points, quantization_bits: int = 11, compression_level: int = 7) -> bytes:
    """A Draco file of points (n, 3), which are rounded to ``quantization_bits`` along the longest side of their box.

    Draco leaves out points that equal another exactly, and keeps no order. Its own program's ``compression_level`` is
    7; which of 0 to 10 gives the fewest bytes depends on the cloud. Raises :class:`~tinify.errors.InputError` for what
    is no cloud and for numbers out of range, :class:`~tinify.errors.MissingPackageError` without DracoPy.

    >>> import numpy as np
    >>> decode(encode(np.eye(3, dtype=np.float32), quantization_bits=1)).shape
    (3, 3)
    """
    numbers = {"quantization_bits": (quantization_bits, BITS), "compression_level": (compression_level, LEVELS)}
    for name, (number, allowed) in numbers.items():
        if number not in allowed:
            raise InputError(f"{name}={number!r}: expected {allowed[0]} to {allowed[-1]}")
    cloud = Cloud(points).points
    package = _package()
    data: bytes = package.encode(cloud, quantization_bits=quantization_bits, compression_level=compression_level)
    return data


def decode(data: bytes) -> Points:
    """The points of a Draco file, (n, 3). Raises :class:`~tinify.errors.FileError` for what is none, or is damaged.

    Decode files of your own making alone: Draco allocates whatever a file says.
    """
    package = _package()
    try:
        points: NDArray[Any] = package.decode(bytes(data)).points
    except (package.FileTypeException, ValueError) as error:
        raise FileError(f"{len(data)} bytes are no Draco file, or a damaged one: {error}") from error
    return Cloud(points).points


def _package() -> Any:
    try:
        return importlib.import_module("DracoPy")
    except ImportError as error:
        raise MissingPackageError(f"Draco takes a package of its own ({error}): pip install DracoPy") from error
