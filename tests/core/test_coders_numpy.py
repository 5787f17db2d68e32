"""The kernels of rANS in numpy: results, buffers, states and refusals are those of the compiled ones."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from coding_tables import INT32, tables_of
from hypothesis import assume, example, given
from hypothesis import strategies as st
from lane_messages import EXTREME, FEW, LANES, SPARE, TYPES, LanesReader, LanesWriter, Message, table_sets

from tinify.coders import CdfTables, rans_lanes, rans_numpy, rans_python, rans_tiny
from tinify.coders.rans_format import (
    BAD_END,
    BAD_START,
    ESCAPE,
    ESCAPE_BYTES,
    FINE,
    FLOOR,
    NOT_MET,
    OTHER_ROWS,
    STATUS,
    TOO_WIDE,
    UNSOUND,
)
from tinify.coders.rans_tables import flat
from tinify.errors import CorruptStreamError


class Tinies:
    """Tiny strings pushed by one module's kernel."""

    def __init__(self, module: Any, message: Message, items: int) -> None:
        count, form = message.count // items, message.form
        symbols = message.symbols[: items * count]
        self.out, self.ends = np.zeros(7 * symbols.size + 8 * items, np.uint8), np.zeros(items, np.int64)
        self.begin = module.push_tinies(symbols, message.indexes, count, form.rows, form.cdf, self.out, self.ends)
        self.strings = self.out[self.begin :].tobytes()


def pop_tinies(module: Any, message: Message, data: bytes, ends: Any, count: int, dtype: Any = None) -> list[Any]:
    form, out = message.form, message.blank(dtype)
    status, item = module.pop_tinies(
        np.frombuffer(data, np.uint8), ends, message.indexes, count, form.rows, form.cdf, form.buckets, out
    )
    return [status, item, out.tolist()]


def pop_tiny(module: Any, message: Message, data: bytes, cuts: list[int]) -> list[Any]:
    """The statuses, states and symbols of slices between the cuts, up to the first that fails."""
    form, state, seen = message.form, [0, 0], []
    for begin, end in pairwise(cuts):
        out = np.full(end - begin, 99, np.int32)
        rows = message.values[begin:end]
        string = np.frombuffer(data, np.uint8)
        status, *state = module.pop_tiny(string, *state, rows, form.rows, form.cdf, form.buckets, out)
        # Where it failed, a state is of no use to anyone.
        seen.append([status, *(state if status == FINE else []), out.tolist()])
        if status != FINE:
            break
    return seen


def damaged(data: st.DataObject, string: bytes, first: int = 0) -> bytes:
    """The string with some bytes from ``first`` on changed, and perhaps cut short."""
    spoilt = bytearray(string)
    assume(len(spoilt) > first)
    for _ in range(data.draw(st.integers(0, 3))):
        spoilt[data.draw(st.integers(first, len(spoilt) - 1))] = data.draw(st.integers(0, 255))
    return bytes(spoilt[: data.draw(st.just(len(spoilt)) | st.integers(first, len(spoilt)))])


counts = st.integers(0, 300) | st.sampled_from([1023, 4097, 4104, 5000, 8192, 33_000])
escapings = st.sampled_from([0.0, 0.003, 0.3, 1.0])
seeds = st.integers(0, 2**32)


@given(table_sets(), counts, st.sampled_from(LANES), st.booleans(), seeds, escapings, st.sampled_from(TYPES))
@example(EXTREME, 33_000, 32, True, 0, 0.01, TYPES[0])
@example(EXTREME, 33_001, 128, False, 0, 0.01, TYPES[1])
def test_lanes_are_the_compiled_ones(
    tables: CdfTables, count: int, lanes: int, forks: bool, seed: int, escaping: float, types: Any
) -> None:
    message = Message(tables, count, seed, escaping, types)
    written = LanesWriter(rans_lanes, message, lanes, forks)
    assert written.status == FINE
    assert LanesWriter(rans_numpy, message, lanes, forks).all() == written.all()
    cuts = sorted(np.random.default_rng(seed).integers(0, count + 1, 3).tolist())
    ours, theirs = (LanesReader(module, message, written.string(count, forks)) for module in (rans_numpy, rans_lanes))
    for begin, end in pairwise([0, *cuts, count]):
        assert ours.pop(begin, end) == theirs.pop(begin, end) == FINE
        assert ours.all() == theirs.all()
    coded = slice(SPARE, SPARE + count)
    assert (ours.out[coded] == message.symbols[coded]).all()


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("forks", [False, True])
def test_strings_of_many_blocks(lanes: int, forks: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    alone: list[int] = []
    pop_each = rans_python.pop_each

    def counted(words: Any, data: Any, cursor: Any, states: Any, named: Any, *others: Any) -> int:
        alone.append(named.size)
        return pop_each(words, data, cursor, states, named, *others)

    monkeypatch.setattr(rans_python, "pop_each", counted)
    message = Message(FEW, 140_001, lanes, 0.001)
    written = LanesWriter(rans_lanes, message, lanes, forks)
    assert LanesWriter(rans_numpy, message, lanes, forks).all() == written.all()
    reader = LanesReader(rans_numpy, message, written.string(message.count, forks))
    assert reader.pop(0, message.count) == FINE
    assert (reader.out[SPARE:-SPARE] == message.symbols[SPARE:-SPARE]).all()
    # Groups of many lanes are not left to the loop that mends what numpy cannot decode.
    assert sum(alone) == message.count - (written.left // lanes * lanes if lanes >= 32 else 0)


@given(table_sets(), counts, st.sampled_from(LANES), st.booleans(), seeds, escapings, st.booleans(), st.data())
def test_damaged_lanes_end_as_the_compiled_ones_do(
    tables: CdfTables, count: int, lanes: int, forks: bool, seed: int, escaping: float, short: bool, data: st.DataObject
) -> None:
    message = Message(tables, count, seed, escaping)
    written = LanesWriter(rans_lanes, message, lanes, forks)
    string = damaged(data, written.string(count, forks), first=1)
    if data.draw(st.booleans()) and count:
        message.values[SPARE + data.draw(st.integers(0, count - 1))] = data.draw(st.sampled_from([-1, len(tables)]))
    dtype = np.int16 if short else np.int32
    try:
        ours, theirs = (LanesReader(module, message, string, dtype) for module in (rans_numpy, rans_lanes))
    except CorruptStreamError:
        return
    assert ours.start == theirs.start
    if ours.start != FINE:
        return
    assert ours.pop(0, count) == theirs.pop(0, count)
    assert ours.all() == theirs.all()


def test_lanes_end_in_every_way() -> None:
    message = Message(FEW, 9000, 0, 0.01)
    string = LanesWriter(rans_numpy, message, 32, True).string(message.count, True)
    cut, met = string[: len(string) // 2], bytearray(string)
    met[len(string) // 3] ^= 255
    ends = {FINE: (string, np.int32), UNSOUND: (cut, np.int32), TOO_WIDE: (string, np.int16), NOT_MET: (met, np.int32)}
    for module in (rans_numpy, rans_lanes):
        for status, (data, dtype) in ends.items():
            assert LanesReader(module, message, bytes(data), dtype).pop(0, message.count) == status
        low = bytearray(string)
        low[2:4] = 0, 0  # the high word of the first state
        assert LanesReader(module, message, bytes(low)).start == BAD_START
        early = LanesReader(module, message, string)
        assert early.pop(0, message.count - 1) == FINE
        assert early.all()[1] == BAD_END
        assert early.pop(message.count - 1, message.count) == FINE
        assert early.all()[1] == FINE
    message.values[5000] = 2
    assert LanesReader(rans_numpy, message, string).pop(0, message.count) == OTHER_ROWS
    assert LanesWriter(rans_numpy, message, 32, True).status == OTHER_ROWS
    assert {*ends, OTHER_ROWS, BAD_START, BAD_END} == {*STATUS}


def ends_alike(message: Message, data: bytes, dtype: Any = np.int32, floor: int | None = None) -> int:
    """How both modules end, by the same way, when they read a string whose escapes begin ``floor`` before its end."""
    ours, theirs = (LanesReader(module, message, data, dtype) for module in (rans_numpy, rans_lanes))
    for reader in (ours, theirs) if floor is not None else ():
        reader.cursor[FLOOR] = reader.cursor[ESCAPE] - floor
    status = ours.pop(0, message.count)
    assert status == theirs.pop(0, message.count)
    assert ours.all() == theirs.all()
    return status


layouts = pytest.mark.parametrize(("lanes", "forks"), [(1, False), (8, False), (32, False), (32, True)])


@layouts
def test_symbols_at_the_limits_of_types(lanes: int, forks: bool) -> None:
    message = Message(FEW, 960, lanes, 0.0)
    edges = [edge + more for edge in (-(2**15), 2**15, -(2**31), 2**31) for more in (-1, 0, 1)]
    for value in (edge for edge in edges if INT32.min <= edge <= INT32.max):
        message.symbols[SPARE + 500] = value
        data = LanesWriter(rans_numpy, message, lanes, forks).string(message.count, forks)
        assert ends_alike(message, data) == FINE
        assert ends_alike(message, data, np.int16) == (FINE if -(2**15) <= value < 2**15 else TOO_WIDE)
    message.symbols[SPARE + 500] = INT32.max
    data = LanesWriter(rans_numpy, message, lanes, forks).string(message.count, forks)
    message.form = flat(tables_of([FEW.cdfs[0, :5].tolist(), FEW.cdfs[1, :4].tolist()], [-1, 1]))
    assert ends_alike(message, data) == ends_alike(message, data, np.int16) == UNSOUND


@layouts
def test_the_last_word_is_missed(lanes: int, forks: bool) -> None:
    for count in range(930, 961):  # where in its group the last word is read depends on it
        message = Message(FEW, count, lanes, 0.0)
        message.symbols[:] = 0  # which no row escapes, so that the string ends with a word
        data = LanesWriter(rans_numpy, message, lanes, forks).string(count, forks)
        assert [ends_alike(message, data[:-2]), ends_alike(message, data)] == [UNSOUND, FINE]


@layouts
def test_escapes_without_an_end(lanes: int, forks: bool) -> None:
    message = Message(FEW, 960, lanes, 0.05)
    data = LanesWriter(rans_numpy, message, lanes, forks).string(message.count, forks)
    for last, more in (1, 255), (0, 128):
        for size in range(1, 9):
            status = ends_alike(message, data[:-size] + bytes([last, *[more] * (size - 1)]))
            assert size <= ESCAPE_BYTES or status == UNSOUND
    for floor in range(8):
        assert ends_alike(message, data, floor=floor) == UNSOUND


@pytest.mark.parametrize("size", range(1, 9))
@pytest.mark.parametrize(("last", "more"), [(1, 255), (0, 128)])
def test_escapes_of_tinies_without_an_end(last: int, more: int, size: int) -> None:
    message = Message(tables_of([[0, 32768, 65536]], [0]), 1, 0, 0.0)
    bins = [(last << 8, 256, -1), *[(more << 8, 256, -1)] * (size - 1), (32768, 32768, -1)]
    popped = [pop_tiny(module, message, rans_python.push_tiny(bins), [0, 1]) for module in (rans_numpy, rans_tiny)]
    assert popped[0] == popped[1]
    assert size <= ESCAPE_BYTES or popped[0][0][0] == UNSOUND


@pytest.mark.parametrize("doublings", [15, 32])
def test_states_at_their_limit(doublings: int) -> None:
    """A state that doubles with every symbol meets the limit exactly, where it must give bytes or words away."""
    message = Message(tables_of([[0, 32768, 49152, 65536], [0, 1, 32769, 65536]], [0, 0]), 40, 0, 0.0)
    message.symbols[:], message.values[:] = 0, 0
    message.symbols[: 40 - doublings - 1] = message.values[: 40 - doublings - 1] = 1
    message.symbols[39] = 1
    ours, theirs = (Tinies(module, message, 1) for module in (rans_numpy, rans_tiny))
    assert ours.strings == theirs.strings
    message.symbols[39:] = 0
    lanes = [LanesWriter(module, message, 1, False).all() for module in (rans_numpy, rans_lanes)]
    assert lanes[0] == lanes[1]


@given(table_sets(), st.integers(0, 300) | st.just(4096), st.integers(1, 40), seeds, escapings, st.sampled_from(TYPES))
@example(EXTREME, 4096, 30, 0, 0.1, TYPES[0])
def test_tinies_are_the_compiled_ones(
    tables: CdfTables, count: int, items: int, seed: int, escaping: float, types: Any
) -> None:
    message = Message(tables, count * items, seed, escaping, types)
    ours, theirs = (Tinies(module, message, items) for module in (rans_numpy, rans_tiny))
    assert (ours.begin, ours.strings, ours.ends.tolist()) == (theirs.begin, theirs.strings, theirs.ends.tolist())
    ends = ours.ends - ours.begin
    popped = pop_tinies(rans_numpy, message, ours.strings, ends, count)
    assert popped == pop_tinies(rans_tiny, message, ours.strings, ends, count)
    assert popped[:2] == [FINE, items]
    assert popped[2][: count * items] == message.symbols[: count * items].tolist()


@given(table_sets(), st.integers(1, 300), st.integers(1, 5), seeds, escapings, st.booleans(), st.data())
def test_damaged_tinies_end_as_the_compiled_ones_do(
    tables: CdfTables, count: int, items: int, seed: int, escaping: float, short: bool, data: st.DataObject
) -> None:
    message = Message(tables, count * items, seed, escaping)
    written = Tinies(rans_tiny, message, items)
    string = damaged(data, written.strings)
    if data.draw(st.booleans()):
        message.values[data.draw(st.integers(0, count * items - 1))] = data.draw(st.sampled_from([-1, len(tables)]))
    ends = np.minimum(written.ends - written.begin, len(string))
    dtype = np.int16 if short else np.int32
    assert pop_tinies(rans_numpy, message, string, ends, count, dtype) == pop_tinies(
        rans_tiny, message, string, ends, count, dtype
    )
    cuts = [0, *sorted(data.draw(st.lists(st.integers(0, count), max_size=4))), count]
    assert pop_tiny(rans_numpy, message, string, cuts) == pop_tiny(rans_tiny, message, string, cuts)


def test_other_rows_are_not_written() -> None:
    message = Message(FEW, 100, 0, 0.0)
    message.values[50] = 2
    for module in (rans_numpy, rans_tiny):
        assert Tinies(module, message, 4).begin == -1


def test_read_only_arrays_are_read() -> None:
    message = Message(FEW, 5000, 1, 0.01)
    parts = [message.symbols, message.values]
    for part in parts:
        part.flags.writeable = False
    written = LanesWriter(rans_numpy, message, 32, True)
    reader = LanesReader(rans_numpy, message, written.string(message.count, True))
    assert reader.pop(0, message.count) == FINE
    tiny = Tinies(rans_numpy, message, 2)
    count = message.count // 2
    assert pop_tinies(rans_numpy, message, tiny.strings, tiny.ends - tiny.begin, count)[:2] == [FINE, 2]


def test_numba_is_not_imported() -> None:
    use = (
        "from tinify.coders import CdfTables; from tinify.coders.rans import RansCoder; coder = RansCoder('numpy'); "
        "tables = CdfTables([[0, 9, 65536]], [3], [0]); rows = [0] * 9000; "
        "tables.decode(tables.encode(rows, rows, coder=coder), rows, coder=coder)"
    )
    for code in ("import tinify.coders.rans_numpy", use):
        command = [sys.executable, "-c", f"import sys; {code}; print({{'numba', 'torch'}} & {{*sys.modules}})"]
        assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "set()\n"


WITHOUT_NUMBA = """
import sys
for name in ("numba", "llvmlite"):
    sys.modules[name] = None  # as if it were not installed
import numpy as np
import tinify
from tinify.errors import PluginError
tinify.warmup()
tables = tinify.CdfTables([[0, 30000, 60000, 65535, 65536]], [5], [-1])
symbols, indexes = np.arange(12000, dtype=np.int32).reshape(3, 4000) % 4 - 1, np.zeros((3, 4000), np.uint8)
assert (tables.decode(tables.encode(symbols, indexes), indexes) == symbols).all()
assert (tables.decode_batch(tables.encode_batch(symbols, indexes), indexes) == symbols).all()
for coder in "rangecoder", "compat":
    try:
        tinify.set_entropy_coder(coder)
    except PluginError as error:
        print(error)
"""


def test_the_default_coder_works_without_numba() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_NUMBA], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("numba") == 2
