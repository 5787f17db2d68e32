"""What an entropy coder offers to the tables; arguments are checked before they come here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from tinify.coders.rows import Rows
    from tinify.coders.tables import CdfTables

IntArray = npt.NDArray[np.int32]


class SymbolReader(Protocol):
    """A string being decoded."""

    def pop(self, indexes: IntArray, out: IntArray) -> None:
        """Decodes the next ``len(indexes)`` symbols into ``out``; both have one axis.

        Raises :class:`~tinify.errors.CorruptStreamError` where the string cannot be right.
        """

    def finish(self) -> None:
        """Raises :class:`~tinify.errors.CorruptStreamError` unless the string was consumed exactly."""


class Coder(Protocol):
    """Symbols to bytes and back, under the probabilities of :class:`CdfTables`.

    Symbols and indexes arrive as contiguous int32 arrays of one axis, indexes within the tables' rows. Symbols may be
    any int32 value: those outside their row are coded by its last bin and an escape of the coder's own form.
    """

    @property
    def name(self) -> str:
        """A short name, unique among coders."""

    def encode(self, tables: CdfTables, symbols: IntArray, indexes: IntArray) -> bytes:
        """The string of the symbols; of none, ``b""``."""

    def decoder(self, tables: CdfTables, data: bytes, count: int) -> SymbolReader:
        """A reader of the ``count`` symbols in ``data``."""


class BatchCoder(ABC):
    """A :class:`Coder` that takes many strings in a call, and arrays as they come. A coder need not be one.

    Unlike there, indexes are unchecked: one that is no row of the tables must raise
    :class:`~tinify.errors.InputError`, as ``rows.check(len(tables))`` does.
    """

    @abstractmethod
    def encode_batch(
        self, tables: CdfTables, symbols: npt.NDArray[Any], rows: Rows, count: int, threads: int
    ) -> list[bytes]:
        """The strings of every ``count`` symbols, the same that :meth:`encode` makes of them.

        ``symbols`` has one axis, of int16 or int32, and is not empty.
        """

    @abstractmethod
    def decode_batch(
        self, tables: CdfTables, strings: Sequence[bytes], rows: Rows, count: int, out: npt.NDArray[Any], threads: int
    ) -> None:
        """Decodes strings of ``count`` symbols each into ``out``, of one axis, int16 or int32."""
