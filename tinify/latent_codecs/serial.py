"""A latent coded a few positions at a time: every step's parameters hang on what the steps before have decoded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from tinify.entropy_models import EntropyModel
from tinify.entropy_models.device import DeviceReader
from tinify.latent_codecs.witness import see


class Serial(ABC):
    """One string an item, for a latent whose positions come in steps.

    ``where`` is a boolean (height, width), or None: positions where it is false are not coded, and zero.
    """

    def __init__(self, model: EntropyModel, where: Tensor | None) -> None:
        self._model = model
        self._where = where
        self._coded: list[Tensor] = []

    def code(self, rows: Tensor, columns: Tensor, *params: Tensor) -> Tensor:
        """Codes the positions (rows[i], columns[i]) of all items; ``params`` are (batch * positions, channels).

        Returns ``y_hat`` of those positions, (batch * positions, channels).
        """
        if self._where is None:
            return self._step(rows, columns, params)
        chosen = self._where.to(rows.device)[rows, columns]
        coded = chosen.repeat(len(params[0]) // len(rows))
        taken = [param[coded] for param in params]
        y_hat = params[0].new_zeros(self._model.size(*params))
        if len(taken[0]):
            y_hat[coded] = self._step(rows[chosen], columns[chosen], taken)
        return y_hat

    @abstractmethod
    def _step(self, rows: Tensor, columns: Tensor, params: Sequence[Tensor]) -> Tensor: ...

    def finish(self) -> None:
        """Ends the strings, when every position has been coded."""
        see(*self._coded)


def _items(x: Tensor, length: int) -> Sequence[Tensor]:
    """Rows of a step by the item that they are of; most often there is one."""
    return (x,) if len(x) == length else torch.split(x, length)


class SerialEncoder(Serial):
    """Writes a string for each item, and hands them to ``keep``."""

    def __init__(
        self, model: EntropyModel, y: Tensor, where: Tensor | None, keep: Callable[[list[bytes]], None]
    ) -> None:
        super().__init__(model, where)
        self._y = y.permute(0, 2, 3, 1).flatten(1, 2).contiguous()
        self._width = y.shape[3]
        self._keep = keep
        self._writers = [model.writer() for _ in y]

    def _step(self, rows: Tensor, columns: Tensor, params: Sequence[Tensor]) -> Tensor:
        y = self._y.index_select(1, (rows * self._width + columns).to(self._y.device)).flatten(0, 1)
        centre = self._model.centre(y.shape, *params)
        symbols = self._model.quantize(y, "symbols", centre)
        self._coded.append(symbols)
        for writer, *part in zip(self._writers, *(_items(one, len(rows)) for one in (symbols, *params)), strict=True):
            writer.write(*part)
        return self._model.dequantize(symbols, centre)

    def finish(self) -> None:
        super().finish()
        self._keep([writer.finish() for writer in self._writers])


class SerialDecoder(Serial):
    """Reads a string for each item."""

    def __init__(self, model: EntropyModel, strings: Sequence[bytes], count: int, where: Tensor | None) -> None:
        super().__init__(model, where)
        self._readers: list[Any] = [model.reader(string, count) for string in strings]

    def _step(self, rows: Tensor, columns: Tensor, params: Sequence[Tensor]) -> Tensor:
        parts = zip(*(_items(param, len(rows)) for param in params), strict=True)
        read = [reader.read(*part) for reader, part in zip(self._readers, parts, strict=True)]
        symbols = read[0] if len(read) == 1 else torch.cat(read)
        self._coded.append(symbols)  # where steps are recorded, others are written to the same memory
        return self._model.dequantize(symbols, self._model.centre(symbols.shape, *params))

    @property
    def form(self) -> tuple[Any, ...] | None:
        """What two decoders have to share for the same launches to do both; None where the CPU takes part."""
        readers = [reader for reader in self._readers if isinstance(reader, DeviceReader)]
        if self._where is not None or len(readers) < len(self._readers):
            return None
        return self._model, *(reader.form for reader in readers)

    def make_room(self) -> None:
        """Gives longer strings room in the memory of these."""
        for reader in self._readers:
            reader.make_room()

    def rewind(self) -> None:
        """Begins anew with strings of which nothing has been read."""
        self._coded.clear()
        for reader in self._readers:
            reader.rewind()

    def take(self, other: SerialDecoder) -> bool:
        """Puts other strings of the same form in the place of these; False where there is no room for them."""
        return all(own.take(given) for own, given in zip(self._readers, other._readers, strict=True))

    def finish(self) -> None:
        for reader in self._readers:
            reader.finish()
        super().finish()
