"""Strings written and read a part at a time, for models whose parameters hang on what was decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from tinify.entropy_models.device import encode_batch

if TYPE_CHECKING:
    from tinify.entropy_models.base import EntropyModel


class Writer(Protocol):
    """One string being written."""

    def write(self, symbols: Tensor, *params: Tensor) -> None:
        """Takes the next symbols, int32 (n, channels, ...), under parameters for each."""

    def finish(self) -> bytes:
        """The string of all that was written."""


class Reader(Protocol):
    """One string being read."""

    def read(self, *params: Tensor) -> Tensor:
        """The next symbols, int32 of the size that the parameters describe."""

    def finish(self) -> None:
        """Checks that the string was used up; :class:`~tinify.errors.CorruptStreamError` if not."""


class TableWriter:
    """Writes by the coding tables of an entropy model."""

    def __init__(self, model: EntropyModel) -> None:
        self._model = model
        self._parts: list[tuple[Tensor, ...]] = []

    def write(self, symbols: Tensor, *params: Tensor) -> None:
        self._parts.append((symbols, *params))

    def finish(self) -> bytes:
        if not self._parts:
            return b""
        symbols, *params = (torch.cat(parts) for parts in zip(*self._parts, strict=True))
        indexes = self._model.indexes(symbols.shape, *params)
        [string] = encode_batch(self._model.tables, symbols[None], indexes[None], self._model.coder)
        return string


class TableReader:
    """Reads by the coding tables of an entropy model."""

    def __init__(self, model: EntropyModel, string: bytes, count: int) -> None:
        self._model = model
        self._decoder = model.tables.decoder(string, count, coder=model.coder)

    def read(self, *params: Tensor) -> Tensor:
        indexes = self._model.indexes(self._model.size(*params), *params)
        symbols: Tensor = self._decoder.pop(indexes.cpu())
        return symbols.to(indexes.device)

    def finish(self) -> None:
        self._decoder.finish()
