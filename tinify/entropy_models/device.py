"""Strings of tensors that lie on a GPU, coded there where a kernel can; bytes alone pass through the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tinify.coders import CdfTables, Coder
from tinify.coders.default import default_coder
from tinify.coders.incremental import as_bytes
from tinify.errors import InputError
from tinify.ops import has_kernel, rans_decode, rans_encode, rans_pop

if TYPE_CHECKING:
    from tinify.coders.rans import Profile
    from tinify.coders.rans_engine import Reading
    from tinify.coders.rans_strings import LaneString
    from tinify.entropy_models.base import EntropyModel


_SLACK = 1 << 12
"""Bytes more that the memory of a string has than it needs, and as much again."""


@dataclass(frozen=True)
class DeviceTables:
    """Coding tables as kernels want them: see :mod:`tinify.coders.rans_tables`."""

    rows: Tensor
    cdf: Tensor
    table: Tensor
    """Empty for tables that do not fit that form."""

    @classmethod
    def of(cls, tables: CdfTables, device: torch.device) -> DeviceTables:
        """Those of some tables, made once for a device."""
        return tables.derive(f"rans on {device}", lambda tables: cls._made(tables, device))

    @classmethod
    def _made(cls, tables: CdfTables, device: torch.device) -> DeviceTables:
        from tinify.coders.rans_tables import flat, packed

        form, pack = flat(tables), packed(tables)
        table = np.empty(0, np.int64) if pack is None else pack.table.view(np.int64)
        return cls(*(torch.tensor(one, device=device) for one in (form.rows, form.cdf, table)))


def encode_batch(tables: CdfTables, symbols: Tensor, indexes: Tensor, coder: Coder | None) -> list[bytes]:
    """One string for each item of the first axis: see :meth:`~tinify.coders.CdfTables.encode_batch`.

    They are written where the symbols are if the coder lays them out for many processors.
    """
    coder = coder or default_coder()
    profile = getattr(coder, "profile", None)
    if not (profile and _for_many(profile) and symbols.numel() and has_kernel("rans_encode", symbols.device)):
        return tables.encode_batch(symbols.cpu(), indexes.cpu(), coder=coder)
    if symbols.shape != indexes.shape:
        raise InputError(f"symbols of shape {tuple(symbols.shape)} but indexes of shape {tuple(indexes.shape)}")
    form = DeviceTables.of(tables, symbols.device)
    data, ends = rans_encode(symbols.flatten(1).int(), indexes.flatten(1).int(), form.rows, form.cdf, profile.chunk)
    text = data.cpu().numpy().tobytes()
    return [text[begin:end] for begin, end in pairwise([0, *ends.tolist()])]


def decode_batch(tables: CdfTables, strings: Sequence[bytes], indexes: Tensor, coder: Coder | None) -> Tensor:
    """The symbols of a string for each item, int32 of the shape of ``indexes``, on their device.

    They are read there if the strings are laid out for many processors.
    """
    coder, device = coder or default_coder(), indexes.device
    here = has_kernel("rans_decode", device) and _is_rans(coder) and len(strings) == len(indexes) and indexes.numel()
    if not here:
        symbols: Tensor = tables.decode_batch(list(strings), indexes.cpu(), coder=coder)
        return symbols.to(device)
    form, texts = DeviceTables.of(tables, device), [as_bytes(string) for string in strings]
    data = torch.from_numpy(np.frombuffer(b"".join(texts), np.uint8).copy())
    ends = torch.tensor([*accumulate(map(len, texts))])
    return rans_decode(data, ends, indexes.flatten(1).int(), form.rows, form.cdf, form.table).reshape(indexes.shape)


def _is_rans(coder: Coder) -> bool:
    from tinify.coders.rans import RansCoder

    return isinstance(coder, RansCoder)


def _for_many(profile: Profile) -> bool:
    from tinify.coders.rans import GPU

    return (profile.lanes, profile.forks) == (GPU.lanes, GPU.forks) and profile.chunk > 0


class DeviceReader:
    """A string read a part at a time on a device: what is read, and what is left, never leave it.

    Damage is found in the end; until then symbols may be anything.
    """

    @classmethod
    def of(cls, model: EntropyModel, string: bytes, count: int) -> DeviceReader | None:
        """The reader of a model's string; None where it has to be read on the CPU."""
        from tinify.coders.rans import TINY_LIMIT
        from tinify.coders.rans_tables import packed

        device = model._quantized_cdf.device
        here = has_kernel("rans_pop", device) and _is_rans(model.coder or default_coder())
        if not here or count <= TINY_LIMIT or packed(model.tables) is None:
            return None
        return cls(model, as_bytes(string), count, device)

    def __init__(self, model: EntropyModel, string: bytes, count: int, device: torch.device) -> None:
        from tinify.coders.rans_strings import read_chunks

        self._model = model
        self._form = DeviceTables.of(model.tables, device)
        self._data = torch.from_numpy(np.frombuffer(string, np.uint8).copy()).to(device)
        chunks = read_chunks(string, 0, len(string), count)
        self._chunks = [_Chunk.of(model.tables, string, chunk, device) for chunk in chunks]
        self.rewind()

    def rewind(self) -> None:
        """Begins anew with strings of which nothing has been read."""
        self._waiting = list(reversed(self._chunks))
        self._left = 0

    def read(self, *params: Tensor) -> Tensor:
        """The next symbols, int32 of the size that the parameters describe."""
        indexes = self._model.indexes(self._model.size(*params), *params)
        rest, found = indexes.reshape(-1), []
        while len(rest):
            if not self._left:
                self._next_chunk()
            step, form = min(self._left, len(rest)), self._form
            words, cursor, states = self._chunk.state
            found.append(rans_pop(rest[:step], self._data, words, cursor, states, form.rows, form.cdf, form.table))
            self._left -= step
            rest = rest[step:]
        return (found[0] if len(found) == 1 else torch.cat([*found, rest])).reshape(indexes.shape)

    def finish(self) -> None:
        """Checks that the string was used up; :class:`~tinify.errors.CorruptStreamError` if not."""
        if self._left or self._waiting:
            raise InputError("finish() with symbols still to be read")
        for chunk in self._chunks:
            chunk.finish()

    @property
    def form(self) -> tuple[Any, ...]:
        """What two strings have to share for the same launches to read both."""
        return (id(self._form), *(chunk.form for chunk in self._chunks))

    def make_room(self) -> None:
        """Gives strings some bytes longer than this one room in its memory."""
        self._data = F.pad(self._data, (0, len(self._data) + _SLACK))
        for chunk in self._chunks:
            chunk.state[0] = F.pad(chunk.state[0], (0, len(chunk.state[0]) + _SLACK))

    def take(self, other: DeviceReader) -> bool:
        """Puts an unread string of the same form in the place of this one; False where there is no room for it."""
        pairs = list(zip(self._chunks, other._chunks, strict=True))
        if len(other._data) > len(self._data) or any(len(b.state[0]) > len(a.state[0]) for a, b in pairs):
            return False
        self._data[: len(other._data)].copy_(other._data)
        for own, given in pairs:
            for one, new in zip(own.state, given.state, strict=True):
                one[: len(new)].copy_(new)
            own.reading = given.reading
        return True

    def _next_chunk(self) -> None:
        if not self._waiting:
            raise InputError("more symbols are asked of a string than it has")
        self._chunk = self._waiting.pop()
        self._left = self._chunk.form[0]


@dataclass
class _Chunk:
    """A lane string: its symbols and lanes, how it began, and its state on the device as ``rans_pop`` moves it on."""

    form: tuple[int, int]
    reading: Reading
    state: list[Tensor]

    @classmethod
    def of(cls, tables: CdfTables, string: bytes, chunk: LaneString, device: torch.device) -> _Chunk:
        from tinify.coders.rans_engine import Engine, Reading

        reading = Reading(Engine("numpy"), tables, string, chunk)
        words, cursor, states = reading.parts
        held: tuple[Any, ...] = words.view(np.int16), np.append(cursor, 0), states
        return cls((chunk.symbols, chunk.lanes), reading, [torch.tensor(one, device=device) for one in held])

    def finish(self) -> None:
        _, cursor, states = (one.cpu().numpy() for one in self.state)
        self.reading.check(int(cursor[-1]))
        self.reading.parts[1][:], self.reading.parts[2][:] = cursor[:-1], states
        self.reading.finish()
