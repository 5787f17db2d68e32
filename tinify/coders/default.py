"""The entropy coder of calls that name none: rANS, unless this process chose another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

from tinify.coders.coder import Coder

RANS = "ans"
"""The name under which rANS is registered."""

_chosen: tuple[str, Coder] | None = None  # one value, so that threads never see a name with another's coder
_pinned = ContextVar("_pinned", default=False)


def default_coder() -> Coder:
    """The coder of calls that name none."""
    chosen = None if _pinned.get() else _chosen
    if chosen is not None:
        return chosen[1]
    return _rans()


@cache
def _rans() -> Coder:
    from tinify.coders.rans import RansCoder  # here, for it imports numba

    return RansCoder()


def default_name() -> str:
    """The name under which that coder was chosen."""
    return RANS if _chosen is None else _chosen[0]


def choose(name: str, coder: Coder) -> None:
    """Makes ``coder`` that of every call that names none, in all threads."""
    global _chosen
    _chosen = None if name == RANS else (name, coder)


@contextmanager
def rans_by_default() -> Iterator[None]:
    """Where a format says what the bytes mean: within, calls that name no coder get rANS, whatever was chosen."""
    token = _pinned.set(True)
    try:
        yield
    finally:
        _pinned.reset(token)
