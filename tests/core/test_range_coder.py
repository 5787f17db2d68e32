"""Range-coded strings: those of the readable coder, within a byte of their information, one for each message."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
import readable_range as readable
from coding_tables import INT32, plain_rows, tables_of
from hypothesis import example, given
from hypothesis import strategies as st

from tinify.coders import CdfTables
from tinify.coders.range_coder import RangeCoder
from tinify.errors import CorruptStreamError, InputError

CODER = RangeCoder()


EVEN = tables_of([list(range(0, 65537, 4096))], [-8])
NARROW = tables_of([[0, 65535, 65536], [0, 1, 65536], [0, 65536], [0, 1, 65535, 65536]], [0, -3, 7, INT32.max - 1])
WIDE = tables_of([list(range(65537)), [0, 32768, 65536]], [INT32.min, 5])


@st.composite
def table_sets(draw: st.DrawFn) -> CdfTables:
    if draw(st.booleans()):
        return draw(st.sampled_from([EVEN, NARROW, WIDE]))
    cuts = st.sets(st.integers(1, 65535), max_size=30)
    rows = [[0, *sorted(row), 65536] for row in draw(st.lists(cuts, min_size=1, max_size=4))]
    return tables_of(rows, draw(st.lists(st.integers(-(10**6), 10**6), min_size=len(rows), max_size=len(rows))))


def message(tables: CdfTables, count: int, seed: int, escaping: float, likely: bool = True) -> tuple[Any, Any]:
    """Symbols drawn from their rows (or any bin, however improbable), some of them replaced by any int32."""
    rng = np.random.default_rng(seed)
    indexes = rng.integers(0, len(tables), count, dtype=np.int32)
    symbols = np.empty(count, np.int32)
    for row, (cdf, size, offset) in enumerate(zip(tables.cdfs, tables.sizes, tables.offsets, strict=True)):
        here = indexes == row
        slots = rng.integers(0, 65536, int(here.sum()))
        bins = np.searchsorted(cdf[:size], slots, side="right") - 1 if likely else slots % (size - 1)
        symbols[here] = np.minimum(bins + int(offset), INT32.max)
    wild = rng.random(count) < escaping
    reach = rng.choice([2, 100, 2**31], count)
    symbols[wild] = rng.integers(-reach, reach, count)[wild]
    if escaping and count:
        symbols[rng.integers(0, count, 2)] = INT32.min, INT32.max
    return symbols, indexes


def information(tables: CdfTables, symbols: Any, indexes: Any) -> tuple[float, int]:
    """Bits, and how many bins they are: of every bin its -log2 probability, of every escape byte eight."""
    values = symbols.astype(np.int64) - tables.offsets[indexes]
    last = (tables.sizes - 2)[indexes]
    outside = (values < 0) | (values >= last)
    bins = np.where(outside, last, values)
    bits = float((16 - np.log2(tables.cdfs[indexes, bins + 1] - tables.cdfs[indexes, bins])).sum())
    folded = np.where(values < 0, -2 * values - 1, 2 * (values - last))[outside]
    escape_bytes = sum(max(1, -(-int(u).bit_length() // 7)) for u in folded)
    return bits + 8 * escape_bytes, symbols.size + escape_bytes


messages = st.tuples(
    table_sets(),
    st.integers(0, 40) | st.sampled_from([300, 4096, 4097]),
    st.integers(0, 2**32),
    st.sampled_from([0.0, 0.02, 1.0]),
    st.booleans(),
)


@given(messages)
@example((EVEN, 4097, 0, 0.5, True))
@example((NARROW, 4097, 1, 0.0, True))
@example((WIDE, 4097, 2, 0.0, False))
def test_round_trip_within_a_byte(drawn: Any) -> None:
    tables = drawn[0]
    symbols, indexes = message(*drawn)
    data = tables.encode(symbols, indexes, coder=CODER)
    decoded = tables.decode(data, indexes, coder=CODER)
    assert decoded.dtype == np.int32
    assert (decoded == symbols).all()
    ideal, bins = information(tables, symbols, indexes)
    assert ideal - 16 - 1e-6 <= 8 * len(data) < ideal + 8 + 2**-15 * bins


@given(messages)
def test_bytes_are_those_of_the_readable_coder(drawn: Any) -> None:
    tables = drawn[0] if drawn[0] is not WIDE else NARROW
    symbols, indexes = message(tables, min(drawn[1], 300), *drawn[2:])
    rows = plain_rows(tables, indexes)
    data = tables.encode(symbols, indexes, coder=CODER)
    assert data == readable.encode(symbols.tolist(), rows)
    assert readable.decode(data, rows) == symbols.tolist()


def test_carries_run_through_many_words() -> None:
    # The span [7fff.., 8000..] keeps the highest number open until the very end.
    tables = tables_of([[0, 32768, 65535, 65536]], [0])
    for last in (0, 1, 2):
        symbols = np.array([0, *[2] * 50, *[last] * 3], np.int32)
        indexes = np.zeros_like(symbols)
        data = tables.encode(symbols, indexes, coder=CODER)
        assert data == readable.encode(symbols.tolist(), plain_rows(tables, indexes))
        assert (tables.decode(data, indexes, coder=CODER) == symbols).all()


def test_long_strings_lose_next_to_nothing() -> None:
    tables = tables_of([[0, 5000, 60000, 65000, 65536], [0, 60000, 65535, 65536]], [-2, 0])
    symbols, indexes = message(tables, 300_000, 1, 1e-4)
    data = tables.encode(symbols, indexes, coder=CODER)
    ideal, _ = information(tables, symbols, indexes)
    assert ideal - 16 <= 8 * len(data) <= ideal + 8 + 1e-5 * ideal
    assert (tables.decode(data, indexes, coder=CODER) == symbols).all()


def test_what_is_all_but_certain_costs_nothing() -> None:
    certain = tables_of([[0, 65535, 65536]], [0])
    indexes = np.zeros(200_000, np.int32)
    assert certain.encode(indexes, indexes, coder=CODER) == b""
    assert not certain.decode(b"", indexes, coder=CODER).any()


@given(messages, st.lists(st.integers(0, 200), max_size=8))
def test_slices_are_the_whole(drawn: Any, slices: list[int]) -> None:
    tables = drawn[0]
    symbols, indexes = message(*drawn)
    decoder = tables.decoder(tables.encode(symbols, indexes, coder=CODER), symbols.size, coder=CODER)
    parts = np.split(indexes, np.minimum(np.cumsum([0, *slices]), symbols.size))
    assert np.concatenate([decoder.pop(part) for part in parts]).tolist() == symbols.tolist()
    decoder.finish()


GOLDEN = tables_of([[0, 1, 65534, 65535, 65536], [0, 16384, 32768, 49152, 65536]], [-1, 0])


@pytest.mark.parametrize(
    ("symbols", "indexes", "expected"),
    [
        ([], [], ""),
        ([0, 0], [0, 0], "01"),
        ([0, 1, 2, 0], [1, 1, 1, 1], "18"),
        ([3, 3], [1, 1], "c030"),
        ([-1, 0], [1, 1], "c040"),
        ([-1, -1], [0, 0], "0000"),
        ([100, -100], [1, 0], "f0807ffff14040"),
        ([5, -7, 1000000, -1000000], [1, 1, 1, 1], "c130dfea21ebff887a"),
        ([INT32.min, INT32.max], [0, 1], "fffffdffffff0ffe3fffffc3c0"),
        ([0, 1, 2] * 10, [1] * 30, "1861861861861860"),
    ],
)
def test_golden_strings(symbols: list[int], indexes: list[int], expected: str) -> None:
    assert GOLDEN.encode(symbols, indexes, coder=CODER).hex() == expected
    assert GOLDEN.decode(bytes.fromhex(expected), indexes, coder=CODER).tolist() == symbols


def test_golden_long_string() -> None:
    position = np.arange(4200)
    indexes = (position % 5 == 0).astype(np.int32)
    data = GOLDEN.encode(np.where(indexes == 1, position % 3, 0), indexes, coder=CODER)
    assert hashlib.sha256(data).hexdigest() == "3d9ade39481c91c42e9a4dc6043f40ad81133dea0c7eea0b8f02e1cd8e925e23"


def damaged(data: st.DataObject, string: bytearray) -> bytes:
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
    return bytes(string)


@given(messages, st.data())
def test_damage_is_named_or_another_message(drawn: Any, data: st.DataObject) -> None:
    tables = drawn[0]
    symbols, indexes = message(*drawn)
    string = damaged(data, bytearray(tables.encode(symbols, indexes, coder=CODER)))
    try:
        decoded = tables.decode(string, indexes, coder=CODER)
    except CorruptStreamError:
        return
    assert tables.encode(decoded, indexes, coder=CODER) == string


@given(st.sampled_from([EVEN, NARROW, GOLDEN]), st.integers(0, 20), st.binary(max_size=12))
def test_the_readable_coder_refuses_the_same(tables: CdfTables, count: int, string: bytes) -> None:
    indexes = np.arange(count, dtype=np.int32) % len(tables)
    try:
        decoded = tables.decode(string, indexes, coder=CODER).tolist()
    except CorruptStreamError:
        decoded = None
    rows = plain_rows(tables, indexes)
    try:
        expected = readable.decode(string, rows)
    except AssertionError:
        expected = None
    assert decoded == expected


@given(messages, st.integers(1, 9))
def test_a_string_that_goes_on_with_zeros_is_refused(drawn: Any, more: int) -> None:
    # They read as what is behind every string, so no other message has them. With other bytes one may.
    tables = drawn[0]
    symbols, indexes = message(*drawn)
    data = tables.encode(symbols, indexes, coder=CODER)
    with pytest.raises(CorruptStreamError, match="damaged"):
        tables.decode(data + bytes(more), indexes, coder=CODER)


def test_of_two_messages_one_string_may_begin_the_other() -> None:
    strings = [EVEN.encode([symbol], [0], coder=CODER) for symbol in (-8, -7)]
    assert strings == [b"", b"\x10"]
    assert [EVEN.decode(string, [0], coder=CODER).tolist() for string in strings] == [[-8], [-7]]


@given(st.integers(0, 2**32), st.integers(3, 600))
def test_a_string_cut_by_three_bytes_is_refused(seed: int, cut: int) -> None:
    symbols, indexes = message(EVEN, 1500, seed, 0.0)
    data = EVEN.encode(np.minimum(symbols, 6), indexes, coder=CODER)  # four bits each
    with pytest.raises(CorruptStreamError, match="too early"):
        EVEN.decode(data[:-cut], indexes, coder=CODER)


def test_a_failed_decoder_stays_where_it_was() -> None:
    symbols, indexes = message(EVEN, 100, 0, 0.0)
    decoder = EVEN.decoder(EVEN.encode(symbols, indexes, coder=CODER)[:30], 100, coder=CODER)
    for _ in range(3):
        with pytest.raises(CorruptStreamError):
            decoder.pop(indexes)
    assert decoder.pop(indexes[:40]).tolist() == symbols[:40].tolist()


def test_an_empty_message_has_the_empty_string_alone() -> None:
    assert EVEN.encode([], [], coder=CODER) == b""
    for wrong in (b"\0", b"\0\0", b"\1", b"\0\0\0"):
        with pytest.raises(CorruptStreamError):
            EVEN.decode(wrong, [], coder=CODER)


@given(table_sets(), st.integers(0, 7), st.integers(0, 20), st.integers(0, 99), st.sampled_from([0.0, 0.2]))
def test_many_strings_in_one_call(tables: CdfTables, items: int, count: int, seed: int, escaping: float) -> None:
    symbols, indexes = (one.reshape(items, count) for one in message(tables, items * count, seed, escaping))
    strings = tables.encode_batch(symbols, indexes, coder=CODER)
    assert strings == [tables.encode(*one, coder=CODER) for one in zip(symbols, indexes, strict=True)]
    for coder in (CODER, RangeCoder(strict=False)):
        assert (tables.decode_batch(strings, indexes, coder=coder) == symbols).all()
        for string, values, rows in zip(strings, symbols, indexes, strict=True):
            assert (tables.decode(string, rows, coder=coder) == values).all()


@given(table_sets(), st.binary(max_size=40), st.integers(0, 20), st.integers(0, 99))
def test_any_bytes_decode_where_nobody_is_strict(tables: CdfTables, data: bytes, count: int, seed: int) -> None:
    indexes = np.random.default_rng(seed).integers(0, len(tables), (2, count), dtype=np.int32)
    lenient = RangeCoder(strict=False)
    first, again = tables.decode_batch([data, data + b"\0"], np.stack([indexes[0]] * 2), coder=lenient)
    assert (first == again).all()  # behind a string are zeros
    decoder = tables.decoder(data, count, coder=lenient)
    assert (np.concatenate([decoder.pop(indexes[0][:3]), decoder.pop(indexes[0][3:])]) == first).all()
    decoder.finish()


def test_one_damaged_string_of_many_is_told() -> None:
    rows = np.zeros((3, 4), np.int32)
    strings = EVEN.encode_batch(rows, rows, coder=CODER)
    for wrong in (strings[1] + b"\0\0\0", b"\xff" * 9):
        with pytest.raises(CorruptStreamError, match=f"string of {len(wrong)} bytes"):
            EVEN.decode_batch([strings[0], wrong, strings[2]], rows, coder=CODER)


def test_what_is_decoded_must_fit_its_output() -> None:
    symbols, rows = np.array([[3, 40000]], np.int32), np.zeros((1, 2), np.int32)
    strings = EVEN.encode_batch(symbols, rows, coder=CODER)
    with pytest.raises(InputError, match="do not fit out, of int16"):
        EVEN.decode_batch(strings, rows, np.empty((1, 2), np.int16), coder=CODER)
