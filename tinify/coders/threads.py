"""Work that releases the interpreter's lock, done by several threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def available() -> int:
    """How many threads can run at once in this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def at_once(function: Callable[[A], B], shares: Sequence[A]) -> list[B]:
    """The function of every share, each in a thread of its own."""
    if len(shares) == 1:
        return [function(shares[0])]
    with ThreadPoolExecutor(len(shares) - 1) as pool:
        others = [pool.submit(function, share) for share in shares[1:]]
        return [function(shares[0]), *(other.result() for other in others)]
