"""Checks of entropy coders: every symbol comes back, the strings are short, and nothing wrong is decoded in silence."""

from __future__ import annotations

import numpy as np

from tinify.coders import CdfTables, Coder
from tinify.coders.coder import IntArray
from tinify.errors import CorruptStreamError
from tinify.testing.cases import Case
from tinify.testing.fresh import in_fresh_process

_LENGTHS = (0, 1, 2, 3, 7, 8, 9, 31, 32, 33, 63, 64, 65, 127, 129, 1000, 4095, 4096, 4097, 5000)
_INT32 = np.iinfo(np.int32)

Message = tuple[IntArray, IntArray]


def check_round_trip(case: Case) -> None:
    """Symbols come back: none, one, lengths about the multiples of lanes, tables mixed, even, narrow and extreme."""
    coder = case.build()
    for kind, tables in _tables().items():
        for length in _LENGTHS if kind == "mixed" else (1, 9, 257, 4097):
            _assert_round_trip(case, coder, tables, draw(tables, length), f"{length} symbols of {kind} tables")


def check_escapes(case: Case) -> None:
    """Symbols outside their row come back, to the ends of int32."""
    coder, tables = case.build(), _tables()["mixed"]
    outside = [_INT32.min, _INT32.min + 1, -70000, -300, -129, 128, 300, 70000, _INT32.max - 1, _INT32.max]
    for length in (len(outside), 200, 5000):
        symbols, indexes = draw(tables, length)
        symbols[:: length // len(outside)][: len(outside)] = outside
        _assert_round_trip(case, coder, tables, (symbols, indexes), f"{length} symbols with escapes")
    every = np.arange(-600, 600, dtype=np.int32)
    _assert_round_trip(case, coder, tables, (every, np.zeros_like(every)), "1200 symbols from -600 to 599")


def check_fresh_process(case: Case) -> None:
    """Another process makes the same strings, and decodes those made here."""
    coder, tables = case.build(), _tables()["mixed"]
    for length in (0, 33, 4500):
        symbols, indexes = draw(tables, length)
        data = coder.encode(tables, symbols, indexes)
        again, decoded = in_fresh_process(_coded, case, tables, symbols, indexes, data)
        assert again == data, f"{case.label}: a fresh process makes another string of the same {length} symbols"
        assert np.array_equal(decoded, symbols), f"{case.label}: a fresh process decodes other symbols"


def check_truncation(case: Case) -> None:
    """A string that was cut short is refused, unless it is the very string of what it decodes to."""
    for length in (5, 300, 4500):
        coder, tables, data, indexes = _message(case, length)
        for kept in sorted({0, 1, len(data) // 2, len(data) - 2, len(data) - 1} & set(range(len(data)))):
            what = f"a string of {length} symbols cut to {kept} of {len(data)} bytes"
            _assert_refused_or_sound(case, coder, tables, data[:kept], indexes, what)


def check_trailing_bytes(case: Case) -> None:
    """A string with bytes after its end is refused, unless it is the very string of what it decodes to."""
    for length in (0, 5, 300, 4500):
        coder, tables, data, indexes = _message(case, length)
        for more in (b"\0", b"\1", b"\xff" * 9):
            what = f"a string of {length} symbols with {len(more)} bytes after its end"
            _assert_refused_or_sound(case, coder, tables, data + more, indexes, what)


def check_over_read(case: Case) -> None:
    """A string asked for more or fewer symbols than it holds is refused, unless it is the very string of those."""
    for length in (5, 300, 4500):
        coder, tables, data, indexes = _message(case, length)
        for count in (length + 64, length - 4):
            what = f"{count} symbols from a string of {length}"
            _assert_refused_or_sound(case, coder, tables, data, np.resize(indexes, count), what)


def check_damage(case: Case) -> None:
    """A string with a wrong byte gives CorruptStreamError or other symbols, and no other error."""
    for length in (5, 300, 4500):
        coder, tables, data, indexes = _message(case, length)
        for place in range(0, len(data), max(1, len(data) // 16)):
            for flip in (1, 0x80, 0xFF):
                wrong = data[:place] + bytes([data[place] ^ flip]) + data[place + 1 :]
                try:
                    decode(coder, tables, wrong, indexes)
                except CorruptStreamError:
                    continue
                except Exception as error:
                    raise AssertionError(
                        f"{case.label}: a wrong byte {place} in {len(data)} gives {type(error).__name__}: {error}; "
                        "expected CorruptStreamError, or other symbols"
                    ) from error


def check_slices(case: Case) -> None:
    """A string decoded a slice at a time, of any lengths, gives what it gives at once."""
    for length in (40, 4500):
        coder, tables, data, indexes = _message(case, length)
        whole = decode(coder, tables, data, indexes)
        reader, out = coder.decoder(tables, data, length), np.zeros(length, np.int32)
        start = 0
        for step in (0, 1, 7, 8, 1, 0, length):
            stop = min(start + step, length)
            reader.pop(indexes[start:stop], out[start:stop])
            start = stop
        reader.finish()
        assert np.array_equal(out, whole), f"{case.label}: symbols popped in slices differ from those popped at once"


def check_length(case: Case) -> None:
    """Strings are within 1 % and 256 bits of the information in their symbols, and no shorter than that.

    A coder whose strings take more, by design, says so: ``overhead(count)`` is the bytes more of ``count`` symbols.
    """
    coder = case.build()
    more = 8 * coder.overhead(20000) if hasattr(coder, "overhead") else 0
    for kind, tables in _tables().items():
        symbols, indexes = draw(tables, 20000)
        bins = symbols - tables.offsets[indexes]
        shares = tables.cdfs[indexes, bins + 1] - tables.cdfs[indexes, bins]
        ideal = float((16 - np.log2(shares)).sum())
        coded = 8 * len(coder.encode(tables, symbols, indexes))
        assert ideal - 16 <= coded <= 1.01 * ideal + 256 + more, (
            f"{case.label}: {len(symbols)} symbols of {kind} tables hold {ideal:.0f} bits, their string has {coded}"
        )


def draw(tables: CdfTables, length: int, seed: int = 0) -> Message:
    """That many symbols, as probable as the tables say, and their rows."""
    generator = np.random.default_rng(seed)
    indexes = generator.integers(0, len(tables), length).astype(np.int32)
    symbols = np.zeros(length, np.int32)
    for row in range(len(tables)):
        cdf, where = tables.cdfs[row, : tables.sizes[row] - 1], indexes == row
        drawn = generator.integers(0, int(cdf[-1]), where.sum())
        symbols[where] = np.searchsorted(cdf, drawn, side="right") - 1 + tables.offsets[row]
    return symbols, indexes


def decode(coder: Coder, tables: CdfTables, data: bytes, indexes: IntArray) -> IntArray:
    """All symbols of a string."""
    reader, out = coder.decoder(tables, data, indexes.size), np.zeros(indexes.size, np.int32)
    reader.pop(indexes, out)
    reader.finish()
    return out


def _message(case: Case, length: int) -> tuple[Coder, CdfTables, bytes, IntArray]:
    coder, tables = case.build(), _tables()["mixed"]
    symbols, indexes = draw(tables, length)
    return coder, tables, coder.encode(tables, symbols, indexes), indexes


def _assert_round_trip(case: Case, coder: Coder, tables: CdfTables, message: Message, what: str) -> None:
    symbols, indexes = message
    before = symbols.copy(), indexes.copy()
    data = coder.encode(tables, symbols, indexes)
    assert isinstance(data, bytes), f"{case.label}: encode returns {type(data).__name__}, expected bytes"
    assert symbols.size or data == b"", f"{case.label}: no symbols give {len(data)} bytes, expected none"
    got = decode(coder, tables, data, indexes)
    wrong = np.flatnonzero(got != symbols)
    assert not wrong.size, (
        f"{case.label}: of {what}, number {wrong[0]} comes back as {got[wrong[0]]}, it was {symbols[wrong[0]]}"
    )
    same = np.array_equal(symbols, before[0]) and np.array_equal(indexes, before[1])
    assert same, f"{case.label} changes the arrays that it is given"


def _assert_refused_or_sound(
    case: Case, coder: Coder, tables: CdfTables, data: bytes, indexes: IntArray, what: str
) -> None:
    """Where almost every string is some message's, a coder cannot refuse, but it must have read all and no more."""
    try:
        symbols = decode(coder, tables, data, indexes)
    except CorruptStreamError:
        return
    except Exception as error:
        raise AssertionError(
            f"{case.label}: {what} gives {type(error).__name__}: {error}; expected CorruptStreamError"
        ) from error
    if coder.encode(tables, symbols, indexes) != data:
        raise AssertionError(f"{case.label} decodes {what}, which encode cannot have made: expected CorruptStreamError")


def _coded(case: Case, tables: CdfTables, symbols: IntArray, indexes: IntArray, data: bytes) -> tuple[bytes, IntArray]:
    coder = case.build()
    return coder.encode(tables, symbols, indexes), decode(coder, tables, data, indexes)


def _tables() -> dict[str, CdfTables]:
    """Tables of one sort each: all sorts together, even, of one symbol, almost certain and almost impossible."""
    even = [*range(0, 65536, 4096), 65535, 65536]
    bell = [0, 300, 3000, 12000, 32000, 52000, 63000, 65000, 65500, 65536]
    single, certain = [0, 65535, 65536], [0, 1, 65534, 65535, 65536]
    escapes = [0, 1, 65536]
    wide = [*range(2000), 65535, 65536]
    return {
        "mixed": _made([bell, even, single, wide], [-4, 3, 7, -1000]),
        "even": _made([even], [-8]),
        "narrow": _made([single], [2]),
        "extreme": _made([certain, escapes], [-1, 0]),
    }


def _made(rows: list[list[int]], offsets: list[int]) -> CdfTables:
    width = max(map(len, rows))
    return CdfTables([row + [0] * (width - len(row)) for row in rows], [len(row) for row in rows], offsets)


CODER_CHECKS = (
    check_round_trip,
    check_escapes,
    check_fresh_process,
    check_truncation,
    check_trailing_bytes,
    check_over_read,
    check_damage,
    check_slices,
    check_length,
)
