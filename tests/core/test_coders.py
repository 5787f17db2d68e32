"""Coding tables as a value, and the checks of what is asked of them."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

from tinify.coders import CdfTables
from tinify.errors import InputError

CDFS = [[0, 1, 65534, 65535, 65536, 0], [0, 16384, 32768, 65536, 0, 0]]
TABLES = CdfTables(CDFS, [5, 4], [-1, 0])


def test_imports_neither_numba_nor_torch() -> None:
    use = "import sys; from tinify.coders import CdfTables; CdfTables([[0, 65536]], [2], [0])"
    code = f"{use}; print('numba' in sys.modules, 'torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False False"


def test_is_a_value() -> None:
    repadded = [[*row[:5], 9, 9] for row in np.where(np.array(CDFS) == 0, [0, 7, 7, 7, 7, 7], CDFS).tolist()]
    same = CdfTables(repadded, [5, 4], [-1, 0])
    for other in (same, pickle.loads(pickle.dumps(TABLES)), copy.deepcopy(TABLES), copy.copy(TABLES)):
        assert other == TABLES
        assert hash(other) == hash(TABLES)
        assert other.digest == TABLES.digest
        assert other.cdfs.shape == (2, 5)
        assert not other.cdfs.flags.writeable
    assert CdfTables(CDFS, [5, 4], [-1, 1]) != TABLES
    assert TABLES != CDFS
    assert len(TABLES) == 2
    assert TABLES.digest.hex() == "09101c444ca8f6b520496c153b7d80fc"
    assert TABLES.digest.hex() in repr(TABLES)


def test_does_not_follow_its_sources() -> None:
    cdfs, sizes, offsets = np.array(CDFS, np.int32), np.array([5, 4], np.int32), np.array([-1, 0], np.int32)
    tables = CdfTables(cdfs, sizes, offsets)
    cdfs[:] = sizes[:] = offsets[:] = 0
    assert tables == TABLES
    with pytest.raises(ValueError, match="read-only"):
        tables.offsets[0] = 1
    with pytest.raises(AttributeError):
        tables.offsets = offsets  # type: ignore[misc]


@pytest.mark.parametrize(
    ("cdfs", "sizes", "offsets", "message"),
    [
        ([[0, 65536]], [3], [0], "sizes from 3 to 3"),
        ([[0, 65536]], [1], [0], "sizes from 1 to 1"),
        ([[0, 65535]], [2], [0], "row 0 of the cdfs"),
        ([[1, 65536]], [2], [0], "row 0 of the cdfs"),
        ([[0, 65536, 0], [0, 7, 7]], [2, 3], [0, 0], "row 1 of the cdfs"),
        ([[0, 9, 9, 65536]], [4], [0], "row 0 of the cdfs"),
        ([[0, 65536, 65537]], [3], [0], "row 0 of the cdfs"),
        ([[0, 2**31 - 1, -(2**31), 65536]], [4], [0], "row 0 of the cdfs"),
        ([[0, 2**33]], [2], [0], "fit 32 bits"),
        ([[0.0, 65536.0]], [2], [0], "expected integers"),
        ([[0, 65536]], [2, 2], [0], "shape"),
        ([[0, 65536]], [2], [0, 0], "shape"),
        ([0, 65536], [2], [0], "shape"),
        ([], [], [], "shape"),
        (np.zeros((0, 4), np.int32), [], [], "shape"),
        ([[0, 65536], [0]], [2, 1], [0, 0], "cannot be read"),
        ([[0, 1, 2, 65536]], [4], [2**31 - 1], "offsets so large"),
        (None, [2], [0], "expected integers"),
    ],
)
def test_refuses_what_are_no_tables(cdfs: Any, sizes: Any, offsets: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        CdfTables(cdfs, sizes, offsets)


@given(array_shapes(min_dims=0, max_dims=4, max_side=5), st.sampled_from(["u1", "i1", "<i2", ">i4", "i8", "u8"]))
def test_arrays_of_any_shape_and_integer(shape: tuple[int, ...], kind: str) -> None:
    indexes = (np.arange(np.prod(shape)) % 2).reshape(shape).astype(kind)
    symbols = np.arange(np.prod(shape)).reshape(shape)[..., ::-1] if shape else np.int16(3)
    data = TABLES.encode(symbols, indexes)
    out = np.zeros(shape, np.int32)
    assert TABLES.decode(data, indexes, out) is out
    assert (out == symbols).all()
    assert (TABLES.decode(memoryview(data), indexes) == symbols).all()


@pytest.mark.parametrize("shape", [(0, 3), (1, 0), (3, 2, 5), (4,)])
def test_a_batch_is_its_items(shape: tuple[int, ...]) -> None:
    symbols = np.random.default_rng(0).integers(-3, 9, shape)
    indexes = (symbols % 2 == 0).astype(np.uint8)
    strings = TABLES.encode_batch(symbols, indexes)
    assert strings == [TABLES.encode(s, i) for s, i in zip(symbols, indexes, strict=True)]
    decoded = TABLES.decode_batch(strings, indexes)
    assert decoded.dtype == np.int32
    assert decoded.shape == shape
    assert (decoded == symbols).all()


class OnAnotherDevice:
    """Refuses as a torch tensor on a GPU does."""

    def __array__(self, *_: object, **__: object) -> None:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")


@pytest.mark.parametrize(
    ("symbols", "indexes", "message"),
    [
        ([0], [2], "indexes from 2 to 2: these tables have rows 0 to 1"),
        ([0, 0], [0, -1], "indexes from -1 to 0"),
        ([0], [0, 0], "must agree"),
        ([[0]], [0], "must agree"),
        ([0.5], [0], "symbols of type float64"),
        ([True], [0], "symbols of type bool"),
        ([2**31], [0], "fit 32 bits"),
        ([0], [2**32], "fit 32 bits"),
        ([0], ["a"], "indexes of type"),
        ([0], OnAnotherDevice(), "cpu"),
    ],
)
def test_refuses_what_cannot_be_coded(symbols: Any, indexes: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        TABLES.encode(symbols, indexes)


def test_refuses_what_cannot_be_decoded() -> None:
    data = TABLES.encode([0, 1], [0, 1])
    with pytest.raises(InputError, match="of type str"):
        TABLES.decode("text", [0, 1])  # type: ignore[arg-type]
    with pytest.raises(InputError, match="rows 0 to 1"):
        TABLES.decode(data, [0, 7])
    for out in (np.empty(2, np.int64), np.empty(3, np.int32), np.empty((2, 2), np.int32)[:, 0], TABLES.offsets, [0, 0]):
        with pytest.raises(InputError, match="out cannot be written"):
            TABLES.decode(data, [0, 1], out)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="1 strings"):
        TABLES.decode_batch([data], [[0, 1], [0, 1]])
    with pytest.raises(InputError, match="batch axis"):
        TABLES.decode_batch([data], 0)
    with pytest.raises(InputError, match="batch axis"):
        TABLES.encode_batch(0, 0)
    with pytest.raises(InputError, match="count -1"):
        TABLES.decoder(data, -1)
    decoder = TABLES.decoder(data, 2)
    with pytest.raises(InputError, match="2 symbols still"):
        decoder.finish()
    with pytest.raises(InputError, match="3 symbols asked of a string that has 2 left"):
        decoder.pop([0, 1, 0])
