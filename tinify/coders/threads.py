"""Work that releases the interpreter's lock, done by several threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def available() -> int:
    """How many threads can run at once in this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def at_once(function: Callable[[A], B], shares: Sequence[A]) -> list[B]:
    """The function of every share, in their order, the first by this thread and the others by those of a pool."""
    if len(shares) == 1:
        return [function(shares[0])]
    others = [_pool().submit(function, share) for share in shares[1:]]
    try:
        first = function(shares[0])
    finally:
        wait(others)  # they write to the caller's arrays
    return [first, *(other.result() for other in others)]


@cache
def _pool() -> ThreadPoolExecutor:
    # Kept, for to start a thread takes as long as to code 100000 symbols.
    return ThreadPoolExecutor(max(1, available() - 1), thread_name_prefix="tinify")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # a forked process has no thread but its own
