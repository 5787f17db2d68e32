"""Strings of Gaussian mixtures: those of the readable coder, close to their information, refused when damaged."""

from __future__ import annotations

import hashlib
import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import readable_mixture as readable
from hypothesis import given
from hypothesis import strategies as st

from tinify.coders.mixture import MixtureCoder
from tinify.coders.mixture_tables import normal_table, steepness
from tinify.errors import CorruptStreamError, InputError

INT32 = np.iinfo(np.int32)
SCALES = [float(np.float32(0.11 * 1.13**row)) for row in range(64)]
ODD = [1e-9, 1 / 256, 0.05, 3.0, 1e4, 1e9]


def message(scales: list[float], shape: tuple[int, int, int], seed: int, wild: float = 0.0) -> tuple[Any, list[Any]]:
    """Symbols and parameters (rows, means, weights); ``wild`` is the part of the symbols that may be any int32."""
    rng = np.random.default_rng(seed)
    items, components, count = shape
    rows = rng.integers(0, len(scales), shape)
    means = rng.normal(0, 1000, shape) * rng.choice([0.01, 1, 50], (items, 1, count))
    means = np.rint(means * (1 + 1e4 * (rng.random(shape) < wild))).clip(-(2**30), 2**30).astype(np.int32)
    weights = np.rint(65536 * rng.dirichlet([rng.choice([0.1, 1.0])] * components, (items, count)))
    weights = weights.swapaxes(1, 2).astype(np.int32)
    chosen = (np.cumsum(weights, 1) < 65536 * rng.random((items, 1, count))).sum(1, keepdims=True)
    chosen = np.minimum(chosen, components - 1)
    mean, row = (np.take_along_axis(one, chosen, 1)[:, 0] for one in (means, rows))
    spread = np.asarray(scales)[row] * rng.normal(size=mean.shape)
    symbols = np.rint(mean / 256 + spread).clip(INT32.min, INT32.max).astype(np.int32)
    anywhere = rng.random(symbols.shape) < wild
    symbols[anywhere] = (rng.integers(INT32.min, INT32.max, symbols.shape) >> rng.integers(0, 32, symbols.shape))[
        anywhere
    ]
    return symbols, [rows.astype(np.int32), means, weights]


def mixtures_of(scales: list[float], tail_mass: float, params: list[Any]) -> list[readable.Mixture]:
    rows = [readable.Scale(scale, tail_mass) for scale in scales]
    columns = np.stack(params, -1).swapaxes(1, 2).reshape(-1, params[0].shape[1], 3)
    return [readable.Mixture(rows, [tuple(one) for one in column]) for column in columns.tolist()]


messages = st.tuples(
    st.sampled_from([SCALES, ODD, [1.0]]),
    st.tuples(st.integers(0, 3), st.integers(1, 5), st.integers(0, 12)),
    st.integers(0, 2**32),
    st.sampled_from([0.0, 0.1, 1.0]),
)


def test_the_normal_distribution_is_no_matter_of_rounding() -> None:
    table = normal_table()
    assert hashlib.sha256(table.astype("<i4").tobytes()).hexdigest()[:16] == "e291527734b5bec2"
    assert table.tolist() == readable.N
    assert (np.diff(table) >= 0).all()
    exact = [2**24 * 0.5 * math.erfc((768 - i) / 128 / math.sqrt(2)) for i in range(768)]
    assert min(abs(one % 1 - 0.5) for one in exact) > 1e-6


@given(messages, st.sampled_from([0.0, 1e-9, 0.01, 0.9]))
def test_bytes_are_those_of_the_readable_coder(drawn: Any, tail_mass: float) -> None:
    symbols, params = message(*drawn)
    coder, mixtures = MixtureCoder(drawn[0], tail_mass), mixtures_of(drawn[0], tail_mass, params)
    data = coder.encode(symbols, *params)
    assert data == readable.encode(symbols.reshape(-1).tolist(), mixtures)
    assert readable.decode(data, mixtures) == symbols.reshape(-1).tolist()
    decoded = coder.decode(data, *params)
    assert decoded.dtype == np.int32
    assert decoded.tolist() == symbols.tolist()


@given(messages)
def test_every_symbol_has_a_bin_and_bins_fill_the_range(drawn: Any) -> None:
    _, params = message(*drawn)
    for mixture in mixtures_of(drawn[0], 0.0, params)[:4]:
        edges = [mixture.start(v) for v in range(mixture.n + 2)]
        assert edges[0] == 0
        assert edges[-1] == 65536
        assert min(np.diff(edges)) >= 1


@pytest.mark.parametrize("seed", range(3))
def test_long_strings_with_escapes(seed: int) -> None:
    symbols, params = message(SCALES, (2, 3, 20_000), seed, 0.01)
    coder = MixtureCoder(SCALES)
    assert (coder.decode(coder.encode(symbols, *params), *params) == symbols).all()


@given(messages, st.lists(st.integers(1, 5), max_size=4))
def test_parts_are_the_whole(drawn: Any, cuts: list[int]) -> None:
    scales, (_, components, count), seed, wild = drawn
    symbols, params = message(scales, (1, components, count), seed, wild)
    coder, whole = MixtureCoder(scales), slice(0, count)
    ends = np.minimum(np.cumsum([0, *cuts, count]), count).tolist()
    parts = [slice(first, last) for first, last in pairwise(ends)]
    encoder = coder.encoder()
    for part in parts:
        encoder.push(symbols[:, part], *(one[:, :, part] for one in params))
    data = encoder.finish()
    assert data == coder.encode(symbols[:, whole], *params)
    decoder = coder.decoder(data, count)
    got = [decoder.pop(*(one[:, :, part] for one in params)) for part in parts]
    decoder.finish()
    assert np.concatenate(got, 1).tolist() == symbols.tolist()


@given(messages, st.data())
def test_damage_is_named_or_other_symbols(drawn: Any, data: st.DataObject) -> None:
    symbols, params = message(*drawn)
    coder = MixtureCoder(drawn[0])
    string = bytearray(coder.encode(symbols, *params))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(string)))
        string[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=9))
    wrong = bytes(string)
    mixtures = mixtures_of(drawn[0], 0.0, params)
    try:
        expected = readable.decode(wrong, mixtures)
    except AssertionError:
        with pytest.raises(CorruptStreamError, match="damaged"):
            coder.decode(wrong, *params)
    else:
        decoded = coder.decode(wrong, *params)
        assert decoded.reshape(-1).tolist() == expected
        assert coder.encode(decoded, *params) == wrong


@pytest.mark.parametrize("seed", range(20))
def test_strings_cut_or_continued_are_refused(seed: int) -> None:
    symbols, params = message(SCALES, (1, 3, 500), seed)
    coder = MixtureCoder(SCALES)
    data = coder.encode(symbols, *params)
    for wrong in (data[: -1 - seed], data[1 + seed :], data + bytes(1 + seed), data + b"more", b""):
        with pytest.raises(CorruptStreamError):
            coder.decode(wrong, *params)


def test_golden_strings() -> None:
    coder = MixtureCoder([0.11, 1.0, 8.0, 256.0])
    rows, means, weights = (np.array(one)[None, :, None] for one in ([0, 1, 2], [-300, 0, 700], [8000, 40000, 17536]))
    many = [np.repeat(one, 9, axis=2) for one in (rows, means, weights)]
    symbols = [[0, -1, 3, 0, 25, -26, 1000, INT32.max, INT32.min]]
    assert coder.encode(symbols, *many).hex() == "0334d10384476bdc04ffff8c0ffffebaffffff0fffffffff00"
    assert coder.encode([[1]], rows, means, weights).hex() == "06af89"
    assert coder.encode(np.empty((0, 0)), *(one[:0, :, :0] for one in many)) == b""


def test_wrong_arguments_are_named() -> None:
    coder, zeros = MixtureCoder([1.0]), np.zeros((1, 2, 1), np.int32)
    halves = np.full_like(zeros, 32768)
    with pytest.raises(InputError, match="no row of the 1 scales"):
        coder.encode([[0]], zeros + 1, zeros, halves)
    with pytest.raises(InputError, match="add up to 65536"):
        coder.encode([[0]], zeros, zeros, halves - 200)
    with pytest.raises(InputError, match="add up to 65536"):
        coder.decode(b"", zeros, zeros, np.array([[[65537], [-1]]]))
    with pytest.raises(InputError, match=r"expected \(1, 1\)"):
        coder.encode([0], zeros, zeros, halves)
    with pytest.raises(InputError, match="expected all to be one"):
        coder.decode(b"", zeros, zeros, halves[:, :1])
    with pytest.raises(InputError, match="2 parameters"):
        coder.decode(b"", zeros, zeros)
    with pytest.raises(InputError, match="means of type float64: expected integers"):
        coder.decode(b"", zeros, zeros.astype(float), halves)
    with pytest.raises(InputError, match="fit 32 bits"):
        coder.encode([[2**31]], zeros, zeros, halves)
    with pytest.raises(InputError, match="1 symbols asked of a string that has 0 left"):
        coder.decoder(b"", 0).pop(zeros, zeros, halves)
    with pytest.raises(InputError, match="1 symbols still to be popped"):
        coder.decoder(b"", 1).finish()
    with pytest.raises(InputError, match="expected the number of symbols"):
        coder.decoder(b"", -1)
    for wrong in ([], [0.0], [1.0, math.inf], [[1.0]]):
        with pytest.raises(InputError, match="all positive and finite"):
            steepness(wrong)
    with pytest.raises(InputError, match="tail_mass 1"):
        MixtureCoder([1.0], 1)
