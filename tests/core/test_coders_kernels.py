"""The kernels of rANS: the same bytes and symbols from all, whatever the tables, the message, its layout and damage."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from typing import Any

import fuzz_coders
import numpy as np
import pytest
import readable_rans as readable
from coding_tables import INT32, plain_rows, tables_of
from hypothesis import example, given, settings
from hypothesis import strategies as st

import tinify
from tinify.coders import CdfTables
from tinify.coders.rans import CHUNK, GPU, WIDE_LIMIT, Profile, RansCoder
from tinify.coders.rans_engine import KERNELS
from tinify.coders.rans_tables import packed
from tinify.coders.rans_tiny import push_tinies
from tinify.coders.rans_vectors import popper, pusher
from tinify.errors import CorruptStreamError, InputError

CODERS = [RansCoder(kernels) for kernels in KERNELS]
VECTORS, SCALAR, NUMPY = CODERS
counts = st.sampled_from([1, 100, 4096, 4097, 4104, 5000, 8191, 8200])


EXTREME = tables_of(
    [
        [0, 65535, 65536],
        [0, 1, 65536],
        [0, 1, 2, 65535, 65536],
        [*range(30000), 65536],
        list(range(0, 65537, 4096)),
        [0, 255, 256, 257, 65279, 65280, 65281, 65536],
    ],
    [0, -3, -1, -15000, -32767, -5],
)
FEW = tables_of([[0, 5000, 60000, 65000, 65536], [0, 60000, 65535, 65536]], [-2, 0])


@st.composite
def table_sets(draw: st.DrawFn) -> CdfTables:
    if draw(st.integers(0, 3)) == 0:
        return EXTREME
    cuts = st.sets(st.integers(1, 65535), min_size=1, max_size=60)
    rows = [[0, *sorted(row), 65536] for row in draw(st.lists(cuts, min_size=1, max_size=4))]
    return tables_of(rows, draw(st.lists(st.integers(-(2**15) + 1, 0), min_size=len(rows), max_size=len(rows))))


def drawn(tables: CdfTables, indexes: Any, seed: int, escaping: float) -> Any:
    """Symbols from the rows of the indexes, some of them replaced by any int32."""
    random = np.random.default_rng(seed)
    symbols = np.empty(indexes.shape, np.int32)
    for row in range(len(tables)):
        size = int(tables.sizes[row])
        slots = random.integers(0, 65536, int((indexes == row).sum()))
        places = np.searchsorted(tables.cdfs[row, :size], slots, side="right") - 1
        symbols[indexes == row] = places + tables.offsets[row]
    far = random.random(indexes.shape) < escaping
    symbols[far] = random.integers(INT32.min, INT32.max, int(far.sum()), endpoint=True)
    return symbols


def message(tables: CdfTables, count: int, seed: int, escaping: float) -> tuple[Any, Any]:
    indexes = np.random.default_rng(seed).integers(0, len(tables), count, dtype=np.int32)
    return drawn(tables, indexes, seed, escaping), indexes


def decoded(coder: RansCoder, tables: CdfTables, data: bytes, indexes: Any, cuts: list[int]) -> Any:
    """The symbols, popped in slices, or the message of the error."""
    out = np.zeros(indexes.size, np.int32)
    try:
        reader = coder.decoder(tables, data, indexes.size)
        for begin, end in pairwise([0, *cuts, indexes.size]):
            reader.pop(indexes[begin:end], out[begin:end])
        reader.finish()
    except CorruptStreamError as error:
        return str(error)
    return out.tolist()


@given(table_sets(), counts, st.integers(0, 2**32), st.sampled_from([0.0, 0.001, 0.3, 1.0]))
@example(EXTREME, 8200, 0, 0.01)
def test_all_write_the_same_bytes_and_read_them(tables: CdfTables, count: int, seed: int, escaping: float) -> None:
    symbols, indexes = message(tables, count, seed, escaping)
    assert packed(tables) is not None
    data = SCALAR.encode(tables, symbols, indexes)
    for coder in CODERS:
        assert coder.encode(tables, symbols, indexes) == data
        assert decoded(coder, tables, data, indexes, []) == symbols.tolist()


@pytest.mark.parametrize("escaping", [0.0, 0.002])
@pytest.mark.parametrize("count", [200_000, WIDE_LIMIT - 1, WIDE_LIMIT, WIDE_LIMIT + 37, 2 * CHUNK - 1])
def test_wide_strings(count: int, escaping: float) -> None:
    symbols, indexes = message(EXTREME, count, count, escaping)
    data = SCALAR.encode(EXTREME, symbols, indexes)
    for coder in CODERS:
        assert coder.encode(EXTREME, symbols, indexes) == data
        assert decoded(coder, EXTREME, data, indexes, []) == symbols.tolist()


@pytest.mark.parametrize("count", [2 * CHUNK, 3 * CHUNK + 11, 7 * CHUNK])
def test_chunks(count: int) -> None:
    symbols, indexes = message(FEW, count, count, 1e-4)
    data = FEW.encode(symbols, indexes, coder=SCALAR, threads=1)
    assert data[0] == 128
    for coder in (VECTORS, SCALAR):
        for threads in (1, 2, 3, 64):
            assert FEW.encode(symbols, indexes, coder=coder, threads=threads) == data
            assert (FEW.decode(data, indexes, coder=coder, threads=threads) == symbols).all()
    assert decoded(VECTORS, FEW, data, indexes, [5, CHUNK - 3, CHUNK + 40, count - 1]) == symbols.tolist()
    assert (FEW.decode(data, indexes, coder=NUMPY) == symbols).all()


@settings(max_examples=20)
@given(
    st.sampled_from([4097, 4999, 5000, 9999, 10_000, 12_345]),
    st.sampled_from([1, 2, 8, 16, 32, 128]),
    st.sampled_from([33, 1000, 4096, 5000, 5001]),
    st.booleans(),
    st.integers(0, 2**32),
)
def test_every_layout_is_the_readable_coders(count: int, lanes: int, chunk: int, forks: bool, seed: int) -> None:
    symbols, indexes = message(FEW, count, seed, 0.001)
    rows, parts = plain_rows(FEW, indexes), -(-count // chunk)
    if parts > 1:
        data = readable.encode_chunks(symbols.tolist(), rows, chunk, lanes, forks)
    else:
        data = readable.encode_lanes(symbols.tolist(), rows, lanes, forks)
    assert readable.decode(data, rows) == symbols.tolist()
    for kernels in KERNELS:
        coder = RansCoder(kernels, Profile(lanes, chunk, forks))
        assert FEW.encode(symbols, indexes, coder=coder) == data
        assert (FEW.decode(data, indexes, coder=RansCoder(kernels)) == symbols).all()


def test_the_gpus_layout_is_read() -> None:
    symbols, indexes = message(FEW, 100_000, 3, 0.001)
    data = FEW.encode(symbols, indexes, coder=RansCoder(profile=GPU))
    assert data == readable.encode_chunks(symbols.tolist(), plain_rows(FEW, indexes), 1 << 14, 32, False)
    for coder in CODERS:
        assert (FEW.decode(data, indexes, coder=coder, threads=2) == symbols).all()


@pytest.mark.parametrize("coder", CODERS, ids=KERNELS)
@pytest.mark.parametrize("count", [1, 100, 4097, 270_000])
@pytest.mark.parametrize(("index", "symbol"), [(np.uint8, np.int16), (np.int16, np.int32), (np.int64, np.int64)])
def test_types_of_arrays_do_not_matter(coder: RansCoder, count: int, index: Any, symbol: Any) -> None:
    symbols, indexes = message(FEW, count, count, 0.0)
    symbols[symbols > 2] = 30_000
    data = FEW.encode(symbols, indexes, coder=SCALAR)
    assert FEW.encode(symbols.astype(symbol), indexes.astype(index), coder=coder) == data
    assert (FEW.decode(data, indexes.astype(index), coder=coder) == symbols).all()
    out = np.zeros(count, np.int16)
    assert FEW.decode(data, indexes.astype(index), out, coder=coder) is out
    assert (out == symbols).all()
    symbols[count // 2] = 2**15
    with pytest.raises(InputError, match="decode into int32"):
        FEW.decode(FEW.encode(symbols, indexes), indexes.astype(index), out, coder=coder)


@pytest.mark.parametrize("coder", CODERS, ids=KERNELS)
@pytest.mark.parametrize("index", [np.uint8, np.int32])
@pytest.mark.parametrize(
    "shape", [(2, 3), (5, 1000), (1, 4500), (3, 7, 23, 29), (40, 65, 60), (2, 300, 16, 16), (3, 1, 1, 50_000)]
)
def test_an_index_for_many_symbols_needs_no_array(coder: RansCoder, index: Any, shape: tuple[int, ...]) -> None:
    channels = (np.arange(shape[-3] if len(shape) > 2 else shape[0]) % len(FEW)).astype(index)
    view = np.broadcast_to(channels[:, None, None] if len(shape) > 2 else channels[:, None], shape)
    symbols = drawn(FEW, view, 1, 0.001)
    data = FEW.encode(symbols, view, coder=coder)
    assert data == FEW.encode(symbols, view.astype(np.int32), coder=SCALAR)
    assert (FEW.decode(data, view, coder=coder) == symbols).all()
    strings = FEW.encode_batch(symbols, view, coder=coder)
    assert strings == [FEW.encode(s, v.copy(), coder=SCALAR) for s, v in zip(symbols, view, strict=True)]
    assert (FEW.decode_batch(strings, view, coder=coder) == symbols).all()


@pytest.mark.parametrize("coder", CODERS, ids=KERNELS)
@pytest.mark.parametrize(("items", "count"), [(1, 5000), (8, 4100), (19, 5000), (3, 262_144), (700, 33), (5, 0)])
def test_many_strings_are_each_its_own(coder: RansCoder, items: int, count: int) -> None:
    symbols, indexes = message(FEW, items * count, items, 0.001)
    symbols, indexes = symbols.reshape(items, count), indexes.reshape(items, count)
    strings = FEW.encode_batch(symbols, indexes, coder=coder, threads=2)
    assert strings == [SCALAR.encode(FEW, s, i) for s, i in zip(symbols, indexes, strict=True)]
    assert (FEW.decode_batch(strings, indexes, coder=coder, threads=2) == symbols).all()
    out = np.zeros((items, count), np.int16)
    if not (abs(symbols) > 30_000).any():
        assert FEW.decode_batch(strings, indexes, out, coder=coder) is out


@pytest.mark.parametrize("coder", CODERS, ids=KERNELS)
@pytest.mark.parametrize("count", [10, 5000, 270_000, 2 * CHUNK])
def test_indexes_of_no_row_are_refused_wherever_they_stand(coder: RansCoder, count: int) -> None:
    symbols, indexes = message(FEW, count, 0, 0.0)
    data = FEW.encode(symbols, indexes)
    for at in (0, 1, count // 3, count // 2 + 1, count - 2, count - 1):
        for wrong in (len(FEW), -1, INT32.max, INT32.min):
            spoilt = indexes.copy()
            spoilt[at] = wrong
            with pytest.raises(InputError, match=f"indexes from .*{abs(wrong)}"):
                FEW.encode(symbols, spoilt, coder=coder)
            with pytest.raises(InputError, match=f"indexes from .*{abs(wrong)}"):
                FEW.decode(data, spoilt, coder=coder)


@pytest.mark.parametrize("coder", CODERS, ids=KERNELS)
@pytest.mark.parametrize("wrong", [-1, len(FEW), INT32.max])
@pytest.mark.parametrize("length", [100, 5000, 300_000])
def test_indexes_of_no_row_are_refused_in_runs(coder: RansCoder, wrong: int, length: int) -> None:
    sound, spoilt = (np.broadcast_to(np.array([[0], [1], [last]], np.int32), (3, length)) for last in (0, wrong))
    symbols = np.zeros((3, length), np.int32)
    data = FEW.encode(symbols, sound)
    with pytest.raises(InputError, match="indexes from"):
        FEW.encode(symbols, spoilt, coder=coder)
    with pytest.raises(InputError, match="indexes from"):
        FEW.decode(data, spoilt, coder=coder)
    with pytest.raises(InputError, match="indexes from"):
        FEW.decoder(data, 3 * length, coder=coder).pop(spoilt)


@given(table_sets(), st.integers(0, 2**32), st.lists(st.integers(0, 5000), max_size=6))
def test_slices_begin_anywhere(tables: CdfTables, seed: int, cuts: list[int]) -> None:
    symbols, indexes = message(tables, 5000, seed, 0.001)
    data = SCALAR.encode(tables, symbols, indexes)
    for coder in CODERS:
        assert decoded(coder, tables, data, indexes, sorted(cuts)) == symbols.tolist()


@given(table_sets(), counts, st.integers(0, 2**32), st.data())
def test_damage_is_seen_by_all_or_by_none(tables: CdfTables, count: int, seed: int, data: st.DataObject) -> None:
    symbols, indexes = message(tables, count, seed, 0.01)
    string = bytearray(SCALAR.encode(tables, symbols, indexes))
    for _ in range(data.draw(st.integers(1, 3)) if string else 0):
        string[data.draw(st.integers(0, len(string) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(string[: data.draw(st.integers(0, len(string)))]) if data.draw(st.booleans()) else bytes(string)
    vectors, *others = (decoded(coder, tables, cut, indexes, []) for coder in CODERS)
    for other in others:
        assert isinstance(other, str) == isinstance(vectors, str)
        assert isinstance(other, str) or other == vectors


@given(st.integers(0, 2**32), st.data())
def test_damaged_chunks_are_seen_by_all_or_by_none(seed: int, data: st.DataObject) -> None:
    symbols, indexes = message(FEW, 6000, seed, 0.01)
    profile = Profile(lanes=data.draw(st.sampled_from([8, 32])), chunk=1500, forks=data.draw(st.booleans()))
    string = bytearray(FEW.encode(symbols, indexes, coder=RansCoder(profile=profile)))
    for _ in range(data.draw(st.integers(1, 3))):
        string[data.draw(st.integers(0, 40) | st.integers(0, len(string) - 1))] = data.draw(st.integers(0, 255))
    vectors, *others = (decoded(coder, FEW, bytes(string), indexes, []) for coder in CODERS)
    for other in others:
        assert isinstance(other, str) == isinstance(vectors, str)
        assert isinstance(other, str) or other == vectors


@pytest.mark.parametrize(
    ("row", "offset"),
    [([0, 30000, 65535, 65536], 1), ([0, 9, 65536], -(2**15)), ([0, 9, 65536], INT32.min), ([0, 65536], 0)],
)
def test_tables_that_do_not_fit_are_left_to_the_scalar_kernels(row: list[int], offset: int) -> None:
    tables = tables_of([row], [offset])
    assert packed(tables) is None
    symbols, indexes = message(tables, 5000, 1, 0.0)
    data = VECTORS.encode(tables, symbols, indexes)
    for coder in CODERS:
        assert decoded(coder, tables, data, indexes, []) == symbols.tolist()


def test_kernels_that_are_none_are_refused() -> None:
    with pytest.raises(InputError, match="kernels 'simd': expected one of vectors, scalar, numpy"):
        RansCoder("simd")


@pytest.mark.parametrize("shape", [(1, 7), (3, 7), (1, 5000), (6, 5000), (1, WIDE_LIMIT), (1, 3 * CHUNK)])
def test_nothing_is_left_to_compile_after_warmup(shape: tuple[int, int]) -> None:
    tinify.warmup()
    compiled = pusher.cache_info().misses, popper.cache_info().misses, len(push_tinies.signatures)
    symbols, indexes = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    for view in (indexes, np.broadcast_to(indexes[:1, :1], shape)):
        strings = FEW.encode_batch(symbols, view)
        assert (FEW.decode_batch(strings, view) == 0).all()
        if shape[0] == 1:
            decoder = FEW.decoder(strings[0], shape[1])
            decoder.pop(indexes[0, : shape[1] // 2])
            decoder.pop(indexes[0, shape[1] // 2 :])
    assert compiled == (pusher.cache_info().misses, popper.cache_info().misses, len(push_tinies.signatures))


def test_mutated_strings_are_read_alike(capsys: pytest.CaptureFixture[str]) -> None:
    fuzz_coders.main(streams=5000, seed=3)
    assert capsys.readouterr().out.startswith("5000 streams, ")


FORKED = """
import os
import numpy as np
from tinify.coders import CdfTables
tables = CdfTables([[0, 30000, 60000, 65535, 65536]], [5], [-1])
symbols, indexes = np.arange(700_000) % 3 - 1, np.zeros(700_000, np.uint8)
data = tables.encode(symbols, indexes, threads=2)
child = os.fork()
if not child:
    os._exit(int(tables.encode(symbols, indexes, threads=2) != data))
print(os.waitpid(child, 0)[1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
def test_a_forked_process_has_threads_of_its_own() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout == "0\n"
