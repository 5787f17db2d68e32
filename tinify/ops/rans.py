"""Entropy-coded strings of tensors that stay where they are: those of rANS, laid out for many processors."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from tinify.coders import CdfTables
from tinify.ops.operator import operator


@operator(
    "rans_encode(Tensor symbols, Tensor indexes, Tensor rows, Tensor cdf, int chunk) -> (Tensor, Tensor)",
    fake=lambda symbols, indexes, rows, cdf, chunk: (
        symbols.new_empty(torch.library.get_ctx().new_dynamic_size(), dtype=torch.uint8),
        symbols.new_empty(symbols.shape[0], dtype=torch.int64),
    ),
)
def rans_encode(symbols: Tensor, indexes: Tensor, rows: Tensor, cdf: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
    """One string for each row of ``symbols``, int32 (items, count), laid out for many processors: see specs/FORMAT.md.

    ``indexes``, of the same shape, says which row of the tables codes a symbol. The tables are those of
    :class:`~tinify.coders.rans_tables.Flat`; ``chunk`` is the number of symbols in a chunk. Returns the bytes of all
    strings, one after another, and where each ends, int64 (items,). Raises :class:`~tinify.errors.InputError` for
    indexes of no row.
    """
    from tinify.coders.rans import GPU, Profile, RansCoder  # numba takes long to import

    coder = RansCoder(profile=Profile(GPU.lanes, chunk, forks=False))
    strings = _tables(rows, cdf).encode_batch(symbols.cpu().numpy(), indexes.cpu().numpy(), coder=coder)
    ends = torch.tensor([len(string) for string in strings], dtype=torch.int64).cumsum(0)
    joined = np.frombuffer(b"".join(strings), np.uint8).copy()
    return torch.from_numpy(joined).to(symbols.device), ends.to(symbols.device)


@operator(
    "rans_decode(Tensor data, Tensor ends, Tensor indexes, Tensor rows, Tensor cdf, Tensor table) -> Tensor",
    fake=lambda data, ends, indexes, rows, cdf, table: torch.empty_like(
        indexes, dtype=torch.int32, memory_format=torch.contiguous_format
    ),
)
def rans_decode(data: Tensor, ends: Tensor, indexes: Tensor, rows: Tensor, cdf: Tensor, table: Tensor) -> Tensor:
    """The symbols, int32 of the shape of ``indexes``, in the strings that :func:`rans_encode` and all writers make.

    ``data`` and ``ends`` may lie on the CPU, wherever the others are. ``table`` is that of
    :class:`~tinify.coders.rans_tables.Packed`, empty where there is none. Raises
    :class:`~tinify.errors.CorruptStreamError` for strings that are none.
    """
    from tinify.coders.rans import RansCoder

    text = data.cpu().numpy().tobytes()
    strings = [text[begin:end] for begin, end in pairwise([0, *ends.tolist()])]
    symbols = _tables(rows, cdf).decode_batch(strings, indexes.cpu().numpy(), coder=RansCoder())
    return torch.as_tensor(symbols).to(indexes.device)


@operator(
    "rans_pop(Tensor indexes, Tensor data, Tensor(a!) words, Tensor(b!) cursor, Tensor(c!) states, Tensor rows,"
    " Tensor cdf, Tensor table) -> Tensor",
    fake=lambda indexes, data, words, cursor, states, rows, cdf, table: torch.empty_like(
        indexes, dtype=torch.int32, memory_format=torch.contiguous_format
    ),
)
def rans_pop(
    indexes: Tensor,
    data: Tensor,
    words: Tensor,
    cursor: Tensor,
    states: Tensor,
    rows: Tensor,
    cdf: Tensor,
    table: Tensor,
) -> Tensor:
    """The next symbols of a lane string that is read a slice at a time, int32 of the shape of ``indexes``.

    What is known of the string moves on: ``words``, int16; ``states``, int64, one of each lane; and ``cursor``, int64,
    whose parts :mod:`tinify.coders.rans_format` names. One part more than these says how reading went, and nothing is
    read after the first fault. ``data`` is the string, for its escapes; tables are those of :func:`rans_decode`.
    """
    from tinify.coders.rans_engine import Engine
    from tinify.coders.rans_tables import flat

    out = np.zeros(indexes.shape, np.int32)
    held = words.cpu(), cursor.cpu(), states.cpu()
    if not held[1][-1]:
        form, pop = flat(_tables(rows, cdf)), Engine("numpy").lanes.pop_string
        held[1][-1] = pop(
            held[0].numpy().view(np.uint16), data.cpu().numpy(), held[1].numpy()[:-1], held[2].numpy(),
            indexes.reshape(-1).cpu().numpy(), 0, out.size, form.rows, form.cdf, form.buckets, out.reshape(-1),
        )  # fmt: skip
        for one, moved in zip((words, cursor, states), held, strict=True):
            one.copy_(moved)
    return torch.from_numpy(out).to(indexes.device)


def _tables(rows: Tensor, cdf: Tensor) -> CdfTables:
    bases, offsets, escapes = rows.cpu().long().T
    width = int(escapes.max()) + 2
    place = bases[:, None] + torch.arange(width).clamp(max=escapes[:, None] + 1)
    return CdfTables(cdf.cpu()[place].numpy(), (escapes + 2).numpy(), offsets.numpy())
