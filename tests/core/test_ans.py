"""The field's strings: golden ones, those of the readable coder, damaged ones; by the field's classes and by tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import readable_compat as readable
from coding_tables import INT32, plain_rows, tables_of
from hypothesis import example, given
from hypothesis import strategies as st

from tinify.ans import BufferedRansEncoder, RansDecoder, RansEncoder
from tinify.coders import CdfTables
from tinify.coders.compat import CompatCoder
from tinify.coders.compat_tables import line
from tinify.errors import CorruptStreamError, InputError

CODER = CompatCoder()
EMPTY = bytes.fromhex("0000008000000000")


EVEN = tables_of([list(range(0, 65537, 4096))], [-8])
NARROW = tables_of([[0, 65535, 65536], [0, 1, 65536], [0, 65536], [0, 1, 65535, 65536]], [0, -3, 7, INT32.max - 1])
WIDE = tables_of([list(range(65537)), [0, 32768, 65536]], [INT32.min, 5])
GOLDEN = tables_of([[0, 1, 65534, 65535, 65536], [0, 16384, 32768, 49152, 65536]], [-1, 0])


@st.composite
def table_sets(draw: st.DrawFn) -> CdfTables:
    if draw(st.booleans()):
        return draw(st.sampled_from([EVEN, NARROW, WIDE]))
    cuts = st.sets(st.integers(1, 65535) | st.integers(1, 300), max_size=60)
    rows = [[0, *sorted(row), 65536] for row in draw(st.lists(cuts, min_size=1, max_size=4))]
    return tables_of(rows, draw(st.lists(st.integers(-(10**6), 10**6), min_size=len(rows), max_size=len(rows))))


def message(tables: CdfTables, count: int, seed: int, escaping: float, likely: bool) -> tuple[Any, Any]:
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


messages = st.tuples(
    table_sets(),
    st.integers(0, 40) | st.sampled_from([300, 4000]),
    st.integers(0, 2**32),
    st.sampled_from([0.0, 0.02, 1.0]),
    st.booleans(),
)


def lists(tables: CdfTables) -> tuple[list[list[int]], list[int], list[int]]:
    """Tables as the field passes them."""
    return tables.cdfs.tolist(), tables.sizes.tolist(), tables.offsets.tolist()


@pytest.mark.parametrize(
    ("symbols", "indexes", "expected"),
    [
        ([], [], "0000008000000000"),
        ([0], [0], "0480018000000000"),
        ([0, 0], [0, 0], "0e00038000000000"),
        ([0, 1, 2, 0], [1, 1, 1, 1], "0000090080000000"),
        ([3, 3], [1, 1], "00c0300000080000"),
        ([-1, 0], [1, 1], "11c0000000080000"),
        ([100, -100], [1, 0], "22cc000000020000ffff520c"),
        ([5, -7, 1000000, -1000000], [1, 1, 1, 1], "41d1030300800000a6c7a107f6c7a107"),
        ([0] * 8, [0] * 8, "a4000c8000000000"),
        ([0, 1, 2] * 10, [1] * 30, "240949922409000800004992"),
    ],
)
def test_golden_strings(symbols: list[int], indexes: list[int], expected: str) -> None:
    data = RansEncoder().encode_with_indexes(symbols, indexes, *lists(GOLDEN))
    assert data.hex() == expected
    assert RansDecoder().decode_with_indexes(data, indexes, *lists(GOLDEN)) == symbols


@given(messages)
@example((WIDE, 4000, 0, 0.5, False))
@example((NARROW, 4000, 1, 0.0, True))
def test_bytes_are_those_of_the_readable_coder(drawn: Any) -> None:
    tables = drawn[0]
    symbols, indexes = message(tables, drawn[1] if tables is not WIDE else min(drawn[1], 20), *drawn[2:])
    rows = plain_rows(tables, indexes)
    data = RansEncoder().encode_with_indexes(symbols, indexes, *lists(tables))
    assert data == readable.encode(symbols.tolist(), rows)
    assert readable.decode(data, rows) == symbols.tolist()
    assert RansDecoder().decode_with_indexes(data, indexes, *lists(tables)) == symbols.tolist()


@given(messages)
def test_tables_code_the_same_by_the_coder(drawn: Any) -> None:
    tables = drawn[0]
    symbols, indexes = message(*drawn)
    data = tables.encode(symbols, indexes, coder=CODER)
    assert data == (RansEncoder().encode_with_indexes(symbols, indexes, *lists(tables)) if symbols.size else b"")
    assert tables.decode(data, indexes, coder=CODER).tolist() == symbols.tolist()


@given(messages, st.lists(st.integers(0, 200), max_size=6))
def test_slices_are_the_whole(drawn: Any, slices: list[int]) -> None:
    tables = drawn[0]
    symbols, indexes = message(*drawn)
    cuts = np.minimum(np.cumsum([0, *slices]), symbols.size)
    encoder, decoder = BufferedRansEncoder(), RansDecoder()
    for values, rows in zip(np.split(symbols, cuts), np.split(indexes, cuts), strict=True):
        encoder.encode_with_indexes(values, rows, *lists(tables))
    data = encoder.flush()
    assert data == RansEncoder().encode_with_indexes(symbols, indexes, *lists(tables))
    decoder.set_stream(data)
    for values, rows in zip(np.split(symbols, cuts), np.split(indexes, cuts), strict=True):
        assert decoder.decode_stream(rows, *lists(tables)) == values.tolist()
    decoder.finish()


def test_slices_may_have_tables_of_their_own_and_are_copied() -> None:
    encoder, values = BufferedRansEncoder(), np.array([0, 1, 2], np.int32)
    encoder.encode_with_indexes(values, np.zeros(3, np.int32), *lists(EVEN))
    values[:] = 3
    encoder.encode_with_indexes(values, np.ones(3, np.int32), *lists(GOLDEN))
    data = encoder.flush()
    rows = plain_rows(EVEN, [0, 0, 0]) + plain_rows(GOLDEN, [1, 1, 1])
    assert data == readable.encode([0, 1, 2, 3, 3, 3], rows)
    assert encoder.flush() == EMPTY


def test_long_strings_are_one_whatever_their_blocks() -> None:
    symbols, indexes = message(GOLDEN, 140_000, 1, 1e-3, True)
    data = GOLDEN.encode(symbols, indexes, coder=CODER)
    assert data == readable.encode(symbols.tolist(), plain_rows(GOLDEN, indexes))
    assert (GOLDEN.decode(data, indexes, coder=CODER) == symbols).all()
    encoder = BufferedRansEncoder()
    for start in range(0, symbols.size, 1000):
        encoder.encode_with_indexes(symbols[start:][:1000], indexes[start:][:1000], *lists(GOLDEN))
    assert encoder.flush() == data


@given(st.lists(st.integers(1, 65536) | st.sampled_from([1 << k for k in range(17)]), min_size=1, max_size=50))
def test_division_by_inverse_is_exact(widths: list[int]) -> None:
    rows = [[0, width, 65536] if width < 65536 else [0, 65536] for width in widths]
    form = line(tables_of(rows, [0] * len(rows)))
    for step, inverse in zip(form.steps.tolist(), form.inverses.tolist(), strict=True):
        width, shift = (step >> 16) & 0x1FFFF, step >> 33
        for x in (0, width - 1, width, (width << 47) - 1, (width << 47) - width, 2**63 - 1 - 2**63 % width, 2**63 - 1):
            assert (2 * x * (inverse % 2**64) >> 64) >> shift == x // width


def damaged(data: st.DataObject, string: bytearray) -> bytes:
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(string)))
        match data.draw(st.sampled_from(["cut", "flip", "words", "insert", "junk"])):
            case "cut":
                del string[at : at + data.draw(st.integers(1, 12))]
            case "flip" if at < len(string):
                string[at] ^= 1 << data.draw(st.integers(0, 7))
            case "words":
                del string[at // 4 * 4 :]
            case "insert":
                string[at:at] = data.draw(st.binary(min_size=1, max_size=12))
            case _:
                string[at:] = data.draw(st.binary(max_size=300))
    return bytes(string)


@given(messages, st.data())
def test_damage_is_named_or_another_message(drawn: Any, data: st.DataObject) -> None:
    tables = drawn[0]
    symbols, indexes = message(*drawn)
    string = damaged(data, bytearray(RansEncoder().encode_with_indexes(symbols, indexes, *lists(tables))))
    try:
        decoded = tables.decode(string, indexes, coder=CODER)
    except CorruptStreamError:
        return
    assert RansEncoder().encode_with_indexes(decoded, indexes, *lists(tables)) == (string or EMPTY)


@given(st.sampled_from([EVEN, NARROW, GOLDEN]), st.integers(0, 20), st.data())
def test_the_readable_coder_refuses_the_same(tables: CdfTables, count: int, data: st.DataObject) -> None:
    indexes = np.arange(count, dtype=np.int32) % len(tables)
    state = data.draw(st.integers(0, 2**64 - 1) | st.integers(0, 2**33))
    string = (state.to_bytes(8, "little") + data.draw(st.binary(max_size=40)))[: data.draw(st.integers(0, 48))]
    try:
        decoded = RansDecoder().decode_with_indexes(string, indexes, *lists(tables))
    except CorruptStreamError:
        decoded = None
    try:
        expected = readable.decode(string, plain_rows(tables, indexes))
    except AssertionError:
        expected = None
    assert decoded == expected


@pytest.mark.parametrize(
    ("string", "reason"),
    [
        ("", "too early"),
        ("0e000380000000", "8 bytes"),
        ("0e0003800000000000", "whole words"),
        ("0e00030000000000", "state"),
        ("0e000380000000ff", "state"),
        ("0e0003800000000000000000", "last symbol"),
        ("0f00038000000000", "damaged"),
    ],
)
def test_bad_strings_are_named(string: str, reason: str) -> None:
    with pytest.raises(CorruptStreamError, match=reason):
        RansDecoder().decode_with_indexes(bytes.fromhex(string), [0, 0], *lists(GOLDEN))


def nibbles(*values: int) -> bytes:
    """A string of the escape of GOLDEN's row 1, and these nibbles."""
    x = 1 << 31
    for value in reversed(values):
        x = x << 4 | value
    return (((x // 16384) << 16) + x % 16384 + 49152).to_bytes(8, "little")


@pytest.mark.parametrize("bad", [(10,), (15,), (1, 0), (2, 5, 0)])
def test_escapes_that_no_writer_makes_are_refused(bad: tuple[int, ...]) -> None:
    assert RansDecoder().decode_with_indexes(nibbles(2, 5, 1), [1], *lists(GOLDEN)) == [-11]
    with pytest.raises(CorruptStreamError, match="escape"):
        RansDecoder().decode_with_indexes(nibbles(*bad), [1], *lists(GOLDEN))


def test_an_escape_beyond_int32_is_refused() -> None:
    far = readable.encode([2**31], plain_rows(GOLDEN, [0]))
    with pytest.raises(CorruptStreamError, match="escape"):
        RansDecoder().decode_with_indexes(far, [0], *lists(GOLDEN))


def test_a_failed_decoder_stays_where_it_was() -> None:
    symbols, indexes = message(EVEN, 100, 0, 0.0, True)
    decoder = RansDecoder()
    decoder.set_stream(EVEN.encode(symbols, indexes, coder=CODER)[:-8])
    for _ in range(3):
        with pytest.raises(CorruptStreamError, match="early"):
            decoder.decode_stream(indexes, *lists(EVEN))
    assert decoder.decode_stream(indexes[:60], *lists(EVEN)) == symbols[:60].tolist()
    with pytest.raises(CorruptStreamError, match="last symbol"):
        decoder.finish()


def test_nothing_to_read_from_is_said() -> None:
    for read in (RansDecoder().finish, lambda: RansDecoder().decode_stream([0], *lists(EVEN))):
        with pytest.raises(InputError, match="set_stream"):
            read()  # type: ignore[operator]


@pytest.mark.parametrize("form", [list, tuple, np.array, lambda values: np.array(values, np.int16)])
def test_lists_and_arrays_are_alike(form: Callable[..., Any]) -> None:
    symbols, indexes = [5, -7, 1000, -1000], [1, 1, 0, 1]
    cdfs, sizes, offsets = lists(GOLDEN)
    given_tables = (np.array(cdfs), np.array(sizes), offsets) if form is np.array else (cdfs, sizes, offsets)
    data = RansEncoder().encode_with_indexes(form(symbols), form(indexes), *given_tables)
    assert data == readable.encode(symbols, plain_rows(GOLDEN, indexes))
    assert RansDecoder().decode_with_indexes(bytearray(data), form(indexes), *given_tables) == symbols
    out = np.empty(4, np.int32)
    assert RansDecoder().decode_with_indexes(data, form(indexes), *given_tables, out=out) is out
    assert out.tolist() == symbols


def test_rows_need_no_padding() -> None:
    rows, sizes, offsets = [[0, 16384, 65536], [0, 1, 2, 65535, 65536]], [3, 5], [0, 0]
    data = RansEncoder().encode_with_indexes([0, 2, -1], [0, 1, 0], rows, sizes, offsets)
    assert data == readable.encode([0, 2, -1], [(rows[0], 0), (rows[1], 0), (rows[0], 0)])


def test_other_tables_are_other_tables() -> None:
    """What is remembered of tables is only taken for the same ones."""
    first, second, third = [0, 16384, 65536], [0, 32768, 65536], [0, 50000, 65536]

    def code(cdfs: Any, offset: int) -> bytes:
        data = RansEncoder().encode_with_indexes([0, -1], [0, 0], cdfs, [3], [offset])
        assert data == readable.encode([0, -1], [([int(edge) for edge in cdfs[0]], offset)] * 2)
        return data

    cdfs: Any = [first]
    strings = [code(cdfs, 0), code(cdfs, 0), code(cdfs, -1)]
    cdfs[0] = second
    strings.append(code(cdfs, 0))
    array = np.array([first])
    strings.append(code(array, 0))
    array[0] = third
    strings.append(code(array, 0))
    array.setflags(write=False)
    strings.append(code(array, -1))
    assert strings[0] == strings[1] == strings[4]
    assert len(set(strings)) == 5


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (([0, 1], [0], [[0, 9, 65536]], [3], [0]), "must agree"),
        (([0], [1], [[0, 9, 65536]], [3], [0]), "indexes from 1 to 1"),
        (([0], [-1], [[0, 9, 65536]], [3], [0]), "indexes from -1"),
        (([2**31], [0], [[0, 9, 65536]], [3], [0]), "symbols .* fit 32 bits"),
        (([0.5], [0], [[0, 9, 65536]], [3], [0]), "symbols .* integers"),
        (([0], [0], [[0, 9, 65536]], [4], [0]), "size and an offset for each"),
        (([0], [0], [[0, 9, 65536]], [1], [0]), "size and an offset for each"),
        (([0], [0], [[0, 9, 65536]], [3, 3], [0]), "size and an offset for each"),
        (([0], [0], [[0, 9, 65536]], [3], [0, 0]), "size and an offset for each"),
        (([0], [0], [0, 9, 65536], [3, 3, 3], [0, 0, 0]), "32-bit integers"),
        (([0], [0], 7, [3], [0]), "size and an offset for each"),
        (([0], [0], [[0, 9, 2**31]], [3], [0]), "32-bit integers"),
        (([0], [0], "cdfs", [3], [0]), "cdfs of type"),
        (([0], [0], [[0, 9, 65536]], 3, [0]), "size and an offset for each"),
        (([0], [0], [[0, 9.5, 65536]], [3], [0]), "32-bit integers"),
        (([0], [0], [[0, 9, 65535]], [3], [0]), "row 0 of the cdfs"),
        (([0], [0], [[0, 9, 9, 65536]], [4], [0]), "row 0 of the cdfs"),
        (([0], [0], [], [], []), "at least one row"),
        (([0], [0], np.zeros((1, 3, 1), np.int32), [3], [0]), "size and an offset for each"),
    ],
)
def test_bad_arguments_are_named(arguments: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        RansEncoder().encode_with_indexes(*arguments)


def test_bad_outputs_and_strings_are_named() -> None:
    for out in (np.empty(2, np.int64), np.empty(3, np.int32), np.empty(2, np.int16), [0, 0]):
        with pytest.raises(InputError, match="out"):
            RansDecoder().decode_with_indexes(EMPTY, [0, 0], *lists(GOLDEN), out=out)
    with pytest.raises(InputError, match="str"):
        RansDecoder().set_stream("00000080")  # type: ignore[arg-type]


def test_no_symbols_are_read_from_nothing_too() -> None:
    assert GOLDEN.decode(EMPTY, [], coder=CODER).tolist() == []
    assert GOLDEN.decode(b"", [], coder=CODER).tolist() == []
    with pytest.raises(CorruptStreamError):
        GOLDEN.decode(b"", [0], coder=CODER)
