"""Integer CDFs: the rule that CompressAI follows, and what coding needs of them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinify.coders import pmf_to_quantized_cdf, pmfs_to_quantized_cdfs
from tinify.errors import InputError


def plain(pmf: list[float], precision: int) -> list[int]:
    """The definition, one bin after another."""
    total = 1 << precision
    scaled = [float(np.float32(p)) * total for p in pmf]
    counts = [math.floor(x) + (x - math.floor(x) >= 0.5) for x in scaled]
    cdf = [0]
    for count in counts:
        cdf.append(cdf[-1] + total * count // sum(counts))
    cdf[-1] = total
    for i in range(len(pmf)):
        if cdf[i] == cdf[i + 1]:
            widths = [b - a for a, b in itertools.pairwise(cdf)]
            j = min((width, j) for j, width in enumerate(widths) if width > 1)[1]
            for k in range(j + 1, i + 1):
                cdf[k] -= 1
            for k in range(i + 1, j + 1):
                cdf[k] += 1
    return cdf


def gaussian(scale: float) -> list[int]:
    centre = math.ceil(6.109410204869 * scale)

    def upper(x: float) -> float:
        return 0.5 * math.erfc(-x / math.sqrt(2))

    values = [abs(k) for k in range(-centre, centre + 1)]
    pmf = [upper((0.5 - v) / scale) - upper((-0.5 - v) / scale) for v in values]
    cdf: list[int] = pmf_to_quantized_cdf([*pmf, 2 * upper((-0.5 - centre) / scale)]).tolist()
    return cdf


probabilities = st.floats(0, 1, width=32) | st.sampled_from([0.0, 1e-9, 1e-5, 0.5])


@given(st.lists(probabilities, min_size=1, max_size=40), st.integers(6, 16))
def test_follows_the_definition(pmf: list[float], precision: int) -> None:
    if all(p * 2**precision < 0.5 for p in pmf):
        with pytest.raises(InputError, match="rounds to zero"):
            pmf_to_quantized_cdf(pmf, precision)
        return
    cdf = pmf_to_quantized_cdf(pmf, precision)
    assert cdf.dtype == np.int32
    assert cdf.tolist() == plain(pmf, precision)
    assert cdf[0] == 0
    assert cdf[-1] == 2**precision
    assert (np.diff(cdf) > 0).all()


def test_published_vectors() -> None:
    assert pmf_to_quantized_cdf([0.1, 0.2, 0, 0]).tolist() == [0, 21845, 65534, 65535, 65536]
    table = np.exp(np.linspace(math.log(0.11), math.log(256), 64)).astype(np.float32).tolist()
    assert gaussian(table[0]) == [0, 1, 65534, 65535, 65536]
    assert gaussian(table[10]) == [0, 1, 2, 6036, 59499, 65533, 65534, 65535, 65536]
    assert gaussian(table[20])[6:13] == [1717, 8011, 22872, 42658, 57519, 63813, 65313]


def test_as_many_bins_as_units() -> None:
    assert pmf_to_quantized_cdf([1.0] + [0.0] * 65535).tolist() == list(range(65537))


@pytest.mark.parametrize(
    ("pmf", "message"),
    [
        ([0.5, -0.5], "element -0.5"),
        ([0.5, math.nan], "element nan"),
        ([math.inf], "element inf"),
        ([1e300], "element inf"),
        ([0.0, 1e-9], "rounds to zero"),
        ([1e5], "sums to 100000"),
        ([], "shape"),
        ([[0.5, 0.5]], "shape"),
        (0.5, "shape"),
        ([1.0] * 65537, "shape"),
        (["half"], "no array"),
    ],
)
def test_refuses_what_is_no_pmf(pmf: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        pmf_to_quantized_cdf(pmf)  # type: ignore[arg-type]


@pytest.mark.parametrize("precision", [0, 17])
def test_refuses_a_precision(precision: int) -> None:
    with pytest.raises(InputError, match="precision"):
        pmf_to_quantized_cdf([1.0], precision)


@given(st.data(), st.integers(1, 6), st.integers(0, 40), st.integers(6, 16))
def test_a_table_is_its_rows(data: st.DataObject, rows: int, width: int, precision: int) -> None:
    random = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    power = data.draw(st.sampled_from([1, 5, 50]))
    pmfs = (random.random((rows, width)) ** power).astype(np.float32)
    tails = (random.random(rows) ** power + 2.0**-precision).astype(np.float32)
    lengths = random.integers(0, width + 1, rows)
    pmfs[np.arange(width) >= lengths[:, None]] = np.nan  # never looked at
    cdfs = pmfs_to_quantized_cdfs(pmfs, tails[:, None], lengths, precision)
    assert cdfs.dtype == np.int32
    assert cdfs.shape == (rows, lengths.max() + 2)
    for row, pmf, tail, length in zip(cdfs, pmfs, tails, lengths, strict=True):
        expected = pmf_to_quantized_cdf([*pmf[:length], tail], precision)
        assert row.tolist() == expected.tolist() + [0] * (row.size - expected.size)


def test_a_table_of_rows_that_need_many_units_and_of_rows_that_need_none() -> None:
    pmfs = np.zeros((3, 65535), np.float32)
    pmfs[:, 0] = 1
    cdfs = pmfs_to_quantized_cdfs(pmfs, [0, 0, 0.25], [65535, 1, 1])
    assert cdfs[0].tolist() == list(range(65537))
    assert cdfs[1:, :3].tolist() == [[0, 65535, 65536], [0, 52428, 65536]]
    assert not cdfs[1:, 3:].any()


def test_a_table_without_rows() -> None:
    assert pmfs_to_quantized_cdfs(np.zeros((0, 9)), [], np.zeros(0, int)).shape == (0, 2)


@pytest.mark.parametrize(
    ("pmfs", "tails", "lengths", "message"),
    [
        ([[0.5], [-0.5]], [0, 0], [1, 1], "row 1: a pmf with the element -0.5"),
        ([[0.5], [0.5]], [0, math.nan], [1, 1], "row 1: a pmf with the element nan"),
        ([[0.5], [0], [0.5]], [0, 0, 0], [1, 1, 1], "row 1: .* rounds to zero"),
        ([[0.5], [1e5]], [0, 0], [1, 1], "row 1: .* sums to 100000"),
        ([0.5], [0], [1], "shape"),
        ([[0.5]], [0, 0], [1], "2 tails"),
        ([[0.5]], [0], [1, 1], "lengths of shape"),
        ([[0.5]], [0], [1.0], "float64 lengths"),
        ([[0.5]], [0], [2], "lengths from 2 to 2"),
        ([[0.5]], [0], [-1], "lengths from -1"),
        (np.ones((1, 65536)), [0], [65536], "less than 65536"),
    ],
)
def test_refuses_what_is_no_table(pmfs: object, tails: object, lengths: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        pmfs_to_quantized_cdfs(pmfs, tails, lengths)  # type: ignore[arg-type]
