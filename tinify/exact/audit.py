"""The proof that exact arithmetic alone chooses coding tables: every operation of a decoder is looked at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from torch import nn
from torch._ops import OpOverload

from tinify.errors import InputError
from tinify.exact.arithmetic import within_limits
from tinify.exact.operations import Operations, foreign, name_of

_SUMS = frozenset({"addmm", "bmm", "mm"})


@contextmanager
def audit(model: nn.Module) -> Iterator[None]:
    """Lets run only what every machine computes alike: put it around ``model.latent_codec.decompress(...)``.

    Sums of products pass in the exact layers alone, which keep them below the limits of their carriers. Anything else
    raises :class:`~tinify.errors.InputError`, which names the operation and the module that it stands in. What does not
    run in torch, or in threads of its own, is not seen.

    >>> import torch
    >>> layer = nn.Linear(1, 1)
    >>> with audit(layer):
    ...     layer(torch.ones(1, 1))
    Traceback (most recent call last):
    tinify.errors.InputError: aten.addmm in the model itself is no exact operation, and must not choose tables
    """
    running: list[str] = []
    with ExitStack() as stack:
        for name, module in model.named_modules():
            enter, leave = partial(_enter, running, name), partial(_leave, running)
            stack.callback(module.register_forward_pre_hook(enter).remove)
            stack.callback(module.register_forward_hook(leave, always_call=True).remove)
        stack.enter_context(_Audit(running))
        yield


class _Audit(Operations):  # type: ignore[no-untyped-call]
    def __init__(self, running: list[str]) -> None:
        super().__init__()
        self.running = running

    def otherwise(self, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if within_limits.get() and name_of(func) in _SUMS and not foreign(args, kwargs):
            return func(*args, **kwargs)
        where = self.running[-1] if self.running else ""
        raise InputError(
            f"{func.overloadpacket} in {where or 'the model itself'} is no exact operation, and must not choose tables"
        )


def _enter(running: list[str], name: str, *_: Any) -> None:
    running.append(name)


def _leave(running: list[str], *_: Any) -> None:
    running.pop()
