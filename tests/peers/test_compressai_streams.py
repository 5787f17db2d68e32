"""Strings and integer CDFs are CompressAI's, byte for byte, both ways."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from peer import peer

from tinify.ans import BufferedRansEncoder, RansDecoder, RansEncoder
from tinify.coders import CdfTables, pmf_to_quantized_cdf, pmfs_to_quantized_cdfs
from tinify.coders.compat import CompatCoder
from tinify.entropy_models import EntropyBottleneck, GaussianConditional
from tinify.errors import InputError

REACH = (1 << 27) - 70_000
"""Escapes from here on make CompressAI's encoder loop for ever."""


peer_ans, peer_cxx = peer("ans"), peer("_CXX")


def random_tables(random: np.random.Generator) -> CdfTables:
    """Even, peaked, tiny and huge rows, at any offset."""
    rows = []
    for _ in range(random.integers(1, 6)):
        match random.integers(0, 4):
            case 0:
                row = random.choice(65535, random.integers(1, 200), replace=False) + 1
            case 1:  # one bin takes nearly all
                row = np.append(np.arange(1, random.integers(2, 40)), 65536 - np.arange(1, random.integers(2, 40)))
            case 2:
                row = random.integers(1, 65536, 1)
            case _:
                row = random.choice(65535, random.integers(1, 20_000), replace=False) + 1
        rows.append([0, *np.unique(row).tolist(), 65536])
    width = max(map(len, rows))
    offsets = random.integers(-(10 ** random.integers(1, 6)), 100, len(rows))
    return CdfTables([row + [0] * (width - len(row)) for row in rows], [len(row) for row in rows], offsets)


def random_message(random: np.random.Generator, tables: CdfTables, count: int) -> tuple[Any, Any]:
    """Likely symbols, symbols of any bin, and escapes near and far."""
    indexes = random.integers(0, len(tables), count, dtype=np.int32)
    bins = random.integers(0, tables.sizes[indexes] - 1)
    if random.random() < 0.7:
        slots = random.integers(0, 65536, count)
        ends = tables.sizes[indexes]
        bins = np.array(
            [np.searchsorted(tables.cdfs[r, :n], s, "right") - 1 for r, n, s in zip(indexes, ends, slots, strict=True)]
        )
    symbols = (bins + tables.offsets[indexes]).astype(np.int32)
    wild = random.random(count) < random.choice([0.0, 0.01, 0.3, 1.0])
    reach = random.choice([3, 300, 10**5, REACH - 10**6], count)
    symbols[wild] = random.integers(-reach, reach)[wild]
    return symbols, indexes


def lists(tables: CdfTables) -> tuple[Any, Any, Any]:
    return tables.cdfs.tolist(), tables.sizes.tolist(), tables.offsets.tolist()


def check(tables: CdfTables, symbols: Any, indexes: Any) -> None:
    arguments = symbols.tolist(), indexes.tolist(), *lists(tables)
    expected = peer_ans.RansEncoder().encode_with_indexes(*arguments)
    assert RansEncoder().encode_with_indexes(*arguments) == expected
    assert RansEncoder().encode_with_indexes(symbols, indexes, tables.cdfs, tables.sizes, tables.offsets) == expected
    assert tables.encode(symbols, indexes, coder=CompatCoder()) == expected
    assert RansDecoder().decode_with_indexes(expected, *arguments[1:]) == arguments[0]
    assert (tables.decode(expected, indexes, coder=CompatCoder()) == symbols).all()
    assert peer_ans.RansDecoder().decode_with_indexes(expected, *arguments[1:]) == arguments[0]


# CompressAI writes past its buffer where a string has more words than bins and nibbles: three symbols are enough.
@pytest.mark.parametrize("seed", range(300))
def test_random_strings(seed: int) -> None:
    random = np.random.default_rng(seed)
    for _ in range(4):
        tables = random_tables(random)
        for _ in range(3):
            check(tables, *random_message(random, tables, int(random.choice([3, 4, 7, 30, 200]))))


def test_long_strings() -> None:
    random = np.random.default_rng(1)
    model = GaussianConditional(None)
    model.update()
    symbols, indexes = random_message(random, model.tables, 300_000)
    check(model.tables, symbols, indexes)


@pytest.mark.parametrize("symbols", [[0, 0], [3, 0], [0, 300], [-1], [4], [70_000], [-70_000]])
def test_the_shortest_strings(symbols: list[int]) -> None:
    tables = CdfTables([[0, 1, 16384, 40000, 60000, 65536]], [6], [-1])
    check(tables, np.array(symbols, np.int32), np.zeros(len(symbols), np.int32))


@pytest.mark.parametrize("far", [REACH, -REACH, 1, -1, 0])
def test_escapes_up_to_the_farthest(far: int) -> None:
    tables = CdfTables([[0, 1, 65534, 65535, 65536], [0, 16384, 32768, 49152, 65536]], [5, 5], [-1, 0])
    for delta in range(40):
        symbols = np.array([far - int(np.sign(far)) * delta, 0, far, 3], np.int32)
        check(tables, symbols, np.array([0, 1, 1, 0]))


@pytest.mark.parametrize("seed", range(50))
def test_slices(seed: int) -> None:
    random = np.random.default_rng(seed)
    ours, theirs = BufferedRansEncoder(), peer_ans.BufferedRansEncoder()
    slices = []
    for _ in range(random.integers(2, 6)):
        tables = random_tables(random)
        symbols, indexes = random_message(random, tables, int(random.choice([2, 5, 50])))
        slices.append((symbols.tolist(), indexes.tolist(), lists(tables)))
        ours.encode_with_indexes(symbols, indexes, *lists(tables))
        theirs.encode_with_indexes(symbols.tolist(), indexes.tolist(), *lists(tables))
    string = ours.flush()
    assert string == theirs.flush()
    readers = RansDecoder(), peer_ans.RansDecoder()
    for reader in readers:
        reader.set_stream(string)
        for values, rows, tables in slices:
            assert reader.decode_stream(rows, *tables) == values
    readers[0].finish()


def hostile_pmf(random: np.random.Generator) -> Any:
    size = int(random.choice([1, 2, 3, 10, 100, 1000, 5000]))
    pmf = random.random(size) ** random.choice([1, 3, 20, 200])
    match random.integers(0, 5):
        case 0:
            pmf[random.random(size) < 0.9] = 0
        case 1:
            pmf = (random.integers(0, 4, size) + random.choice([0, 0.5])) / 65536  # ties and halves
        case 2:
            pmf /= pmf.sum()
        case 3:
            pmf = np.exp(-np.abs(np.arange(size) - size / 2) / random.choice([0.2, 3, 100]))
    pmf[random.integers(size)] += random.choice([1e-5, 0.1, 1])
    return pmf.astype(np.float32)


@pytest.mark.parametrize("seed", range(100))
def test_integer_cdfs(seed: int) -> None:
    random = np.random.default_rng(seed)
    for _ in range(20):
        pmf = hostile_pmf(random)
        precision = 16 if random.random() < 0.7 else int(random.integers(max(1, len(pmf).bit_length()), 17))
        try:
            ours = pmf_to_quantized_cdf(pmf, precision).tolist()
        except InputError:
            with pytest.raises(ValueError, match="pmf"):
                peer_cxx.pmf_to_quantized_cdf(pmf.tolist(), precision)
        else:
            assert ours == peer_cxx.pmf_to_quantized_cdf(pmf.tolist(), precision)


@pytest.mark.parametrize("seed", range(50))
def test_integer_cdfs_of_a_table(seed: int) -> None:
    random = np.random.default_rng(seed)
    pmfs = [np.append(hostile_pmf(random), np.float32(1e-4)) for _ in range(8)]
    lengths = np.array([len(pmf) - 1 for pmf in pmfs])
    padded = np.zeros((8, lengths.max()), np.float32)
    for row, pmf in zip(padded, pmfs, strict=True):
        row[: len(pmf) - 1] = pmf[:-1]
    cdfs = pmfs_to_quantized_cdfs(padded, [pmf[-1] for pmf in pmfs], lengths)
    for row, pmf in zip(cdfs, pmfs, strict=True):
        assert row[: len(pmf) + 1].tolist() == peer_cxx.pmf_to_quantized_cdf(pmf.tolist(), 16)


def test_tables_of_the_entropy_models() -> None:
    models = peer("entropy_models")
    gaussian = GaussianConditional(None)
    theirs = models.GaussianConditional(gaussian.scale_table.tolist())
    gaussian.update()
    theirs.update()
    factorized = EntropyBottleneck(8)
    copy = models.EntropyBottleneck(8)
    copy.load_state_dict(factorized.state_dict(), strict=False)
    factorized.update()
    copy.update()
    for ours, other in ((gaussian.tables, theirs), (factorized.tables, copy)):
        assert ours == CdfTables(other._quantized_cdf, other._cdf_length, other._offset)
