"""The rANS strings: equal to the readable coder's, as short as they ought to be, and harmless when damaged."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
import readable_rans as readable
from coding_tables import INT32, plain_rows, tables_of
from hypothesis import example, given
from hypothesis import strategies as st

from tinify.coders import CdfTables
from tinify.errors import CorruptStreamError

TINY, WIDE = 4096, 262144


EXTREME = tables_of(
    [
        [0, 65535, 65536],
        [0, 1, 65536],
        [0, 65536],
        [0, 1, 65535, 65536],
        list(range(65537)),
        list(range(0, 65537, 4096)),
    ],
    [0, -3, 7, INT32.max - 1, -30000, INT32.min],
)
EVEN = tables_of([list(range(0, 65537, 4096))], [-8])


@st.composite
def table_sets(draw: st.DrawFn) -> CdfTables:
    if draw(st.integers(0, 3)) == 0:
        return EXTREME
    cuts = st.sets(st.integers(1, 65535), max_size=30)
    rows = [[0, *sorted(row), 65536] for row in draw(st.lists(cuts, min_size=1, max_size=4))]
    return tables_of(rows, draw(st.lists(st.integers(-(10**6), 10**6), min_size=len(rows), max_size=len(rows))))


def message(tables: CdfTables, count: int, seed: int, escaping: float) -> tuple[Any, Any]:
    """Symbols drawn from their rows, some of them replaced by any int32."""
    rng = np.random.default_rng(seed)
    indexes = rng.integers(0, len(tables), count, dtype=np.int32)
    slots = rng.integers(0, 65536, count)
    symbols = np.empty(count, np.int32)
    for row, (cdf, size, offset) in enumerate(zip(tables.cdfs, tables.sizes, tables.offsets, strict=True)):
        here = indexes == row
        bins = np.searchsorted(cdf[:size], slots[here], side="right") - 1
        symbols[here] = np.minimum(bins + int(offset), INT32.max)
    wild = rng.random(count) < escaping
    reach = rng.choice([2, 100, 2**31], count)
    symbols[wild] = (rng.integers(-reach, reach, count))[wild]
    if escaping and count:
        symbols[rng.integers(0, count, 2)] = INT32.min, INT32.max
    return symbols, indexes


def information(tables: CdfTables, symbols: Any, indexes: Any) -> float:
    """Bits: of every bin its -log2 probability, of every escape byte eight."""
    bits = 0.0
    for row, (cdf, size, offset) in enumerate(zip(tables.cdfs, tables.sizes, tables.offsets, strict=True)):
        values = symbols[indexes == row].astype(np.int64) - offset
        last = size - 2
        outside = (values < 0) | (values >= last)
        bins = np.where(outside, last, values)
        bits += float((16 - np.log2(np.diff(cdf[:size])))[bins].sum())
        wild = values[outside]
        folded = np.where(wild < 0, -2 * wild - 1, 2 * (wild - last))
        bits += 8 * sum(max(1, -(-int(u).bit_length() // 7)) for u in folded)
    return bits


counts = st.integers(0, 40) | st.sampled_from([TINY - 1, TINY, TINY + 1, TINY + 7, TINY + 8, 5000])


@given(table_sets(), counts, st.integers(0, 2**32), st.sampled_from([0.0, 0.01, 1.0]))
@example(EVEN, TINY, 0, 0.0)
@example(EVEN, TINY + 1, 0, 0.5)
def test_round_trip_in_few_bits(tables: CdfTables, count: int, seed: int, escaping: float) -> None:
    symbols, indexes = message(tables, count, seed, escaping)
    data = tables.encode(symbols, indexes)
    decoded = tables.decode(data, indexes)
    assert decoded.dtype == np.int32
    assert (decoded == symbols).all()
    # Tiny: 16 bits of a first push from 0, and less than a byte of rounding.
    # Lanes: the header, 32 bits in lane 0, up to 16 in every lane.
    excess = 24 if count <= TINY else 8 + 24 + 32 + 8 * 16
    ideal = information(tables, symbols, indexes)
    rounding = 2.3e-5 * count
    assert 8 * len(data) <= ideal + excess + rounding
    assert 8 * len(data) >= ideal - rounding or count <= TINY


@given(
    table_sets(),
    st.sampled_from([1, 17, 300, TINY + 1, TINY + 13]),
    st.integers(0, 2**32),
    st.sampled_from([0.0, 0.05]),
)
def test_bytes_are_those_of_the_readable_coder(tables: CdfTables, count: int, seed: int, escaping: float) -> None:
    if tables is EXTREME:
        tables = tables_of([[0, 65535, 65536], [0, 1, 65536], [0, 65536]], [0, -3, 7])
    symbols, indexes = message(tables, count, seed, escaping)
    rows = plain_rows(tables, indexes)
    data = tables.encode(symbols, indexes)
    assert data == readable.encode(symbols.tolist(), rows)
    assert readable.decode(data, rows) == symbols.tolist()


@pytest.mark.parametrize(("count", "escaping"), [(WIDE - 1, 0.0), (WIDE, 1e-4), (WIDE + 33, 0.0)])
def test_wide_strings(count: int, escaping: float) -> None:
    tables = tables_of([[0, 5000, 60000, 65000, 65536], [0, 60000, 65535, 65536]], [-2, 0])
    symbols, indexes = message(tables, count, 1, escaping)
    data = tables.encode(symbols, indexes)
    assert data == readable.encode(symbols.tolist(), plain_rows(tables, indexes))
    assert (tables.decode(data, indexes) == symbols).all()
    assert 8 * len(data) <= 1.001 * information(tables, symbols, indexes) + 8 * 64


@pytest.mark.parametrize("lanes", [1, 2, 16, 128])
@pytest.mark.parametrize("fork", [False, True])
def test_reads_any_number_of_lanes(lanes: int, fork: bool) -> None:
    symbols, indexes = message(EVEN, 4999, lanes, 0.01)
    data = readable.encode_lanes(symbols.tolist(), plain_rows(EVEN, indexes), lanes, fork)
    assert (EVEN.decode(data, indexes) == symbols).all()


def test_tells_nothing_in_few_bytes() -> None:
    tables = tables_of([[0, 65535, 65536]], [0])
    indexes = np.zeros(200_000, np.int32)
    data = tables.encode(indexes, indexes)
    assert len(data) <= 8
    assert not tables.decode(data, indexes).any()


@given(
    st.sampled_from([10, 700, TINY + 50, 6000]),
    st.integers(0, 2**32),
    st.lists(st.integers(0, 2500), max_size=8),
    st.sampled_from([0.0, 0.02]),
)
def test_slices_are_the_whole(count: int, seed: int, slices: list[int], escaping: float) -> None:
    tables = tables_of([[0, 30000, 60000, 65535, 65536], [0, 65000, 65536]], [-1, 5])
    symbols, indexes = message(tables, count, seed, escaping)
    decoder = tables.decoder(tables.encode(symbols, indexes), count)
    parts = np.split(indexes, np.minimum(np.cumsum([0, *slices]), count))
    assert np.concatenate([decoder.pop(part) for part in parts]).tolist() == symbols.tolist()
    assert decoder.remaining == 0
    decoder.finish()


GOLDEN = tables_of([[0, 1, 65534, 65535, 65536], [0, 16384, 32768, 49152, 65536]], [-1, 0])


@pytest.mark.parametrize(
    ("symbols", "indexes", "expected"),
    [
        ([], [], ""),
        ([0, 0], [0, 0], "02"),
        ([0, 1, 2, 0], [1, 1, 1, 1], "090000"),
        ([3, 3], [1, 1], "0300c000"),
        ([-1, 0], [1, 1], "c100"),
        ([100, -100], [1, 0], "071403ffc201ff"),
        ([5, -7, 1000000, -1000000], [1, 1, 1, 1], "7a88fff0c4cdfa887a00"),
        ([INT32.min, INT32.max], [0, 1], "3ffffffffffffdffffff0ff800"),
        ([0, 1, 2] * 10, [1] * 30, "02492492126489124000"),
    ],
)
def test_golden_strings(symbols: list[int], indexes: list[int], expected: str) -> None:
    assert GOLDEN.encode(symbols, indexes).hex() == expected
    assert GOLDEN.decode(bytes.fromhex(expected), indexes).tolist() == symbols


def test_golden_lanes() -> None:
    position = np.arange(4200)
    symbols, indexes = position % 3, (position % 5 == 0).astype(np.int32)
    data = GOLDEN.encode(np.where(indexes == 1, symbols, 0), indexes)
    assert hashlib.sha256(data).hexdigest() == "7c1999a9a340c6273c89fab21984a5a59c0155b572c549b4c296c74bf056d6f0"


@given(
    st.sampled_from([3, 200, TINY + 5, TINY + 900]),
    st.sampled_from([0.0, 0.02]),
    st.integers(0, 2**32),
    st.data(),
)
def test_damage_is_named_or_harmless(count: int, escaping: float, seed: int, data: st.DataObject) -> None:
    tables = data.draw(st.sampled_from([EVEN, EXTREME, GOLDEN]))
    symbols, indexes = message(tables, count, seed, escaping)
    string = bytearray(tables.encode(symbols, indexes))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(string)))
        match data.draw(st.sampled_from(["cut", "flip", "insert", "junk"])):
            case "cut":
                del string[at : at + data.draw(st.integers(1, 12))]
            case "flip" if at < len(string):
                string[at] ^= 1 << data.draw(st.integers(0, 7))
            case "insert":
                string[at:at] = data.draw(st.binary(min_size=1, max_size=12))
            case _:
                string[at:] = data.draw(st.binary(max_size=300))
    try:
        decoded = tables.decode(bytes(string), indexes)
    except CorruptStreamError:
        return
    assert decoded.shape == indexes.shape


@given(st.integers(0, 2**32), st.binary(max_size=400))
def test_junk_is_named_or_harmless(seed: int, string: bytes) -> None:
    _, indexes = message(EVEN, TINY + 1 + seed % 9, seed, 0)
    for first in (string[:1], b"\x0c", b"\x2c", b"\x6c", b"\x60"):
        with pytest.raises(CorruptStreamError):
            EVEN.decode(first + string, indexes)


@given(st.integers(0, 2**32), st.data())
def test_a_lane_string_cut_or_grown_is_noticed(seed: int, data: st.DataObject) -> None:
    symbols, indexes = message(EVEN, 4500, seed, 0)
    string = EVEN.encode(np.minimum(symbols, 6), indexes)
    for wrong in (
        string[: data.draw(st.integers(0, len(string) - 1))],
        string + data.draw(st.binary(min_size=1, max_size=9)),
    ):
        with pytest.raises(CorruptStreamError, match="damaged"):
            EVEN.decode(wrong, indexes)


def test_other_versions_are_refused() -> None:
    symbols, indexes = message(EVEN, 4500, 0, 0)
    string = EVEN.encode(symbols, indexes)
    for bit in (0, 1, 7):
        with pytest.raises(CorruptStreamError, match="flags"):
            EVEN.decode(bytes([string[0] | 1 << bit]) + string[1:], indexes)


def test_a_failed_decoder_stays_harmless() -> None:
    _, indexes = message(EVEN, 4500, 0, 0)
    decoder = EVEN.decoder(b"\x0c" + b"\xff" * 60, 4500)
    for _ in range(3):
        with pytest.raises(CorruptStreamError):
            decoder.pop(indexes)
