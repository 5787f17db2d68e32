"""Draco beside the own codecs: errors no larger than its steps, fewer bytes for fewer bits, errors with names."""

from __future__ import annotations

import doctest
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import KDTree
from tinify_plugins.pointcloud import draco

from tinify.errors import FileError, InputError, MissingPackageError


def cloud(count: int, seed: int = 0) -> draco.Points:
    return np.random.default_rng(seed).uniform(-3, 5, (count, 3)).astype(np.float32)


def test_examples_give_what_they_show() -> None:
    pytest.importorskip("DracoPy")
    results = doctest.testmod(draco)
    assert results.attempted
    assert not results.failed


@given(st.integers(2, 300), st.integers(1, 16), st.integers(0, 10), st.integers(0, 99))
def test_points_come_back_within_a_step(count: int, bits: int, level: int, seed: int) -> None:
    pytest.importorskip("DracoPy")
    points = cloud(count, seed)
    found = draco.decode(draco.encode(points, bits, level))
    assert found.shape == (count, 3)
    assert found.dtype == np.float32
    step = float(np.ptp(points, 0).max()) / (2**bits - 1)
    for a, b in ((points, found), (found, points)):  # in any order
        offsets = np.abs(a - b[KDTree(b).query(a, p=np.inf)[1]])
        assert float(offsets.max()) <= step / 2 + 1e-5


def test_fewer_bits_take_fewer_bytes() -> None:
    pytest.importorskip("DracoPy")
    points = cloud(1000)
    sizes = [len(draco.encode(points, bits)) for bits in range(2, 17)]
    assert sizes == sorted(sizes)
    assert draco.encode(points, 9) == draco.encode(points, 9)


def test_what_draco_cannot_take_is_named() -> None:
    pytest.importorskip("DracoPy")
    for bits in (0, 31):
        with pytest.raises(InputError, match=f"quantization_bits={bits}: expected 1 to 30"):
            draco.encode(cloud(5), bits)
    with pytest.raises(InputError, match="compression_level=11: expected 0 to 10"):
        draco.encode(cloud(5), compression_level=11)
    with pytest.raises(InputError, match="NaN"):
        draco.encode(np.full((5, 3), np.nan, np.float32))
    whole = draco.encode(cloud(100))
    for data in (b"", b"none", whole[:50], whole[:-1]):
        with pytest.raises(FileError, match=f"{len(data)} bytes are no Draco file"):
            draco.decode(data)


def test_without_dracopy_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "DracoPy", None)
    with pytest.raises(MissingPackageError, match="pip install DracoPy"):
        draco.encode(cloud(5))
    with pytest.raises(MissingPackageError, match="pip install DracoPy"):
        draco.decode(b"DRACO")
