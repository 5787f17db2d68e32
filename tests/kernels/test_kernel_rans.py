"""Strings made on a device are the CPU's, byte for byte, and are read back there; damage is found."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from tinify_kernels.rans import rans_decode, rans_encode
from tinify_kernels.rans_pop import rans_pop
from torch import Tensor

from tinify.coders import CdfTables
from tinify.coders.rans import Profile, RansCoder
from tinify.coders.rans_engine import Engine, Reading
from tinify.coders.rans_strings import read_chunks
from tinify.entropy_models import GaussianConditional
from tinify.entropy_models.device import DeviceTables
from tinify.errors import CorruptStreamError, InputError


@pytest.fixture(scope="module")
def tables() -> CdfTables:
    model = GaussianConditional(None)
    model.update()
    return model.tables


def draw(tables: CdfTables, shape: tuple[int, ...], wild: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Symbols and rows; a part of the symbols is any int32."""
    random = np.random.default_rng(seed)
    indexes = random.integers(0, len(tables), shape).astype(np.int32)
    scales = GaussianConditional(None).scale_table.numpy()[indexes]
    symbols = np.round(random.normal(size=shape) * scales).astype(np.int32)
    strange = random.random(shape) < wild
    symbols[strange] = random.integers(-(2**31), 2**31, int(strange.sum()))
    return torch.from_numpy(symbols), torch.from_numpy(indexes)


def joined(strings: list[bytes]) -> tuple[Tensor, Tensor]:
    data = np.frombuffer(b"".join(strings), np.uint8).copy()
    return torch.from_numpy(data), torch.tensor([len(string) for string in strings]).cumsum(0)


@pytest.mark.parametrize(
    ("items", "count", "chunk", "wild"), [(1, 4097, 1 << 14, 0.01), (1, 4100, 2048, 0.0), (2, 4130, 4128, 0.002)]
)
def test_bytes_are_the_cpus(tables: CdfTables, items: int, count: int, chunk: int, wild: float, device: str) -> None:
    symbols, indexes = draw(tables, (items, count), wild)
    form = DeviceTables.of(tables, torch.device(device))
    data, ends = rans_encode(symbols.to(device), indexes.to(device), form.rows, form.cdf, chunk)
    coder = RansCoder(profile=Profile(32, chunk, forks=False))
    expected = tables.encode_batch(symbols, indexes, coder=coder)
    text = data.cpu().numpy().tobytes()
    assert [text[begin:end] for begin, end in pairwise([0, *ends.tolist()])] == expected
    found = rans_decode(data, ends, indexes.to(device), form.rows, form.cdf, form.table)
    assert torch.equal(found.cpu(), symbols)


def test_short_strings_and_other_layouts_are_read_too(tables: CdfTables, device: str) -> None:
    form = DeviceTables.of(tables, torch.device(device))
    for shape in (2, 100), (1, 4096), (2, 5000), (1, 0):
        symbols, indexes = draw(tables, shape, 0.01)
        data, ends = joined(tables.encode_batch(symbols, indexes))
        found = rans_decode(data.to(device), ends, indexes.to(device), form.rows, form.cdf, form.table)
        assert torch.equal(found.cpu(), symbols)


def test_damage_and_other_rows_are_found(tables: CdfTables, device: str) -> None:
    symbols, indexes = draw(tables, (1, 4100), 0.003)
    form = DeviceTables.of(tables, torch.device(device))
    data, ends = joined(tables.encode_batch(symbols, indexes, coder=RansCoder(profile=Profile(32, 1 << 14, False))))
    random = np.random.default_rng(0)
    for _ in range(4):
        broken = data.clone()
        broken[int(random.integers(193, len(data)))] ^= int(random.integers(1, 256))
        try:
            found = rans_decode(broken.to(device), ends, indexes.to(device), form.rows, form.cdf, form.table)
        except CorruptStreamError:
            continue
        assert not torch.equal(found.cpu(), symbols)
    with pytest.raises(CorruptStreamError):
        rans_decode(data[:-40].to(device), ends - 40, indexes.to(device), form.rows, form.cdf, form.table)
    strange = indexes + len(tables)
    with pytest.raises(InputError, match="rows"):
        rans_encode(symbols.to(device), strange.to(device), form.rows, form.cdf, 1 << 14)
    with pytest.raises(InputError, match="rows"):
        rans_decode(data.to(device), ends, strange.to(device), form.rows, form.cdf, form.table)


@pytest.mark.parametrize(
    ("count", "profile", "wild"),
    [(4500, None, 0.003), (4600, Profile(32, 0), 0.0), (4101, Profile(8, 0, forks=False), 0.001)],
    ids=["8 lanes", "32 lanes", "no fork"],
)
def test_strings_are_read_in_slices(
    tables: CdfTables, count: int, profile: Profile | None, wild: float, device: str
) -> None:
    symbols, indexes = draw(tables, (count,), wild)
    data = tables.encode(symbols, indexes, coder=RansCoder(profile=profile))
    [string] = read_chunks(data, 0, len(data), count)
    reading = Reading(Engine("numpy"), tables, data, string)
    words, cursor, states = reading.parts
    held = [torch.tensor(one, device=device) for one in (words.view(np.int16), np.append(cursor, 0), states)]
    form = DeviceTables.of(tables, torch.device(device))
    text = torch.frombuffer(bytearray(data), dtype=torch.uint8).to(device)
    parts = indexes.to(device).split([7, 0, 800, 1, 1692, 1500, count - 4000])
    found = [rans_pop(part, text, *held, form.rows, form.cdf, form.table) for part in parts]
    assert torch.equal(torch.cat(found).cpu(), symbols)
    cursor[:], states[:] = held[1][:-1].cpu(), held[2].cpu()
    assert int(held[1][-1]) == 0
    reading.finish()
