"""A checksum of every symbol that is coded, by which two machines can tell whether they decoded the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import google_crc32c
from torch import Tensor


class Witness:
    """What has been coded while it was open: see :func:`witness`."""

    def __init__(self) -> None:
        self.checksum = 0
        self.symbols = 0

    def see(self, symbols: Tensor) -> None:
        """Takes symbols, in the order of their axes, as int32 of little end."""
        data = symbols.detach().cpu().contiguous().int().numpy().astype("<i4", copy=False)
        self.checksum = google_crc32c.extend(self.checksum, data.tobytes())
        self.symbols += data.size


_open: ContextVar[tuple[Witness, ...]] = ContextVar("open", default=())


@contextmanager
def witness() -> Iterator[Witness]:
    """Sees the symbols that streams code or decode meanwhile, in their order; ``checksum`` is CRC-32C of them.

    >>> import torch
    >>> from tinify.entropy_models import EntropyBottleneck
    >>> from tinify.latent_codecs import EntropyBottleneckLatentCodec
    >>> codec = EntropyBottleneckLatentCodec(EntropyBottleneck(2)).eval()
    >>> with witness() as coded:
    ...     packed = codec.compress(torch.ones(1, 2, 3, 3))
    >>> with witness() as decoded:
    ...     _ = codec.decompress(packed["strings"], packed["shape"])
    >>> coded.symbols, coded.checksum == decoded.checksum
    (18, True)
    """
    seen = Witness()
    token = _open.set((*_open.get(), seen))
    try:
        yield seen
    finally:
        _open.reset(token)


def see(*parts: Tensor) -> None:
    """Shows symbols to those witnesses that are open."""
    for one in _open.get():
        for symbols in parts:
            one.see(symbols)
