"""Entropy models whose indexes choose among distributions: every combination codes, and as it says it does."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tinify import distributions as d
from tinify.entropy_models import (
    ContinuousBatchedEntropyModel,
    ContinuousIndexedEntropyModel,
    LocationScaleIndexedEntropyModel,
)
from tinify.errors import InputError

GRID = (5, 3)


def scale_fn(index: Tensor) -> Tensor:
    return torch.exp(math.log(0.11) + index * math.log(256 / 0.11) / 63)


def grid_model(axis: int, rank: int = 2, **options: Any) -> Any:
    def pick(channel: int) -> Any:
        return lambda indexes: indexes.select(axis, channel).float()

    functions = {"loc": lambda i: 3 * pick(1)(i), "scale": lambda i: 0.5 + pick(0)(i)}
    return ContinuousIndexedEntropyModel(d.NoisyNormal, GRID, functions, rank, axis, compression=True, **options)


@pytest.mark.parametrize("axis", [-1, 0, 1, 2, -2])
@given(st.integers(0, 99))
def test_indexed_models_code_under_every_combination(axis: int, seed: int) -> None:
    torch.manual_seed(seed)
    model, y = grid_model(axis), 6 * torch.randn(2, 3, 7)
    indexes = torch.stack([(size + 1) * torch.rand(y.shape) - 1 for size in GRID], axis)
    strings = model.compress(y, indexes)
    assert torch.equal(model.decompress(strings, indexes), torch.round(y))
    assert len(strings) == 2
    assert len(model.tables) == 15


def test_indexes_choose_the_table_of_their_prior() -> None:
    model = grid_model(-1)
    for row, index in enumerate([(a, b) for a in range(5) for b in range(3)]):
        same = ContinuousBatchedEntropyModel(
            d.NoisyNormal(torch.tensor(3.0 * index[1]), torch.tensor(0.5 + index[0])), 0, compression=True
        )
        size = same.tables.sizes[0]
        assert model.tables.cdfs[row, :size].tolist() == same.tables.cdfs[0, :size].tolist()
        assert model.tables.offsets[row] == same.tables.offsets[0]


def test_outside_training_bits_are_those_of_the_table_that_codes() -> None:
    model = LocationScaleIndexedEntropyModel(d.NoisyLogistic, 8, scale_fn, 0, compression=True)
    y = torch.randn(20)
    at = [model(y, torch.full((20,), index), training=False)[1] for index in (2.6, 3.0, 3.4, 3.6, -4.0, 0.0)]
    assert torch.equal(at[0], at[1])
    assert torch.equal(at[1], at[2])
    assert not torch.equal(at[2], at[3])
    assert torch.equal(at[4], at[5])
    torch.manual_seed(0)
    fraction = model(y, torch.full((20,), 3.4), training=True)[1]
    torch.manual_seed(0)
    assert not torch.equal(fraction, model(y, torch.full((20,), 3.0), training=True)[1])


def test_indexes_are_led_back_into_their_range() -> None:
    model = LocationScaleIndexedEntropyModel(d.NoisyNormal, 64, scale_fn, 1)
    indexes = torch.tensor([[-5.0, 90.0]], requires_grad=True)
    model(torch.tensor([[30.0, 0.0]]), indexes)[1].sum().backward()
    assert indexes.grad is not None
    assert indexes.grad[0, 0] < 0 < indexes.grad[0, 1]  # a wider scale, and a narrower one


@pytest.mark.parametrize("expected", [False, True])
def test_indexes_and_locations_learn(expected: bool) -> None:
    y, loc = torch.randn(7, 5), torch.randn(7, 5, requires_grad=True)
    indexes = (70 * torch.rand(7, 5)).requires_grad_()
    indexed = LocationScaleIndexedEntropyModel(d.NoisyNormal, 64, scale_fn, 1, expected_grads=expected)
    indexed(y, indexes, loc)[1].sum().backward()
    for grad in (indexes.grad, loc.grad):
        assert grad is not None
        assert torch.isfinite(grad).all()
        assert grad.abs().sum() > 0


def test_locations_may_be_anything() -> None:
    model = LocationScaleIndexedEntropyModel(d.NoisyNormal, 64, scale_fn, 1, compression=True)
    y, indexes, loc = 9 * torch.randn(4, 6), 63 * torch.rand(4, 6), 100 * torch.randn(6)
    decoded = model.decompress(model.compress(y, indexes, loc), indexes, loc)
    assert torch.allclose(decoded, model(y, indexes, loc, training=False)[0])
    assert (decoded - y).abs().max() <= 0.5 + 1e-4
    assert torch.equal(model.decompress(model.compress(y, indexes), indexes), torch.round(y))


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 99))
def test_information_bounds_of_the_location_scale_model(seed: int) -> None:
    torch.manual_seed(seed)
    model = LocationScaleIndexedEntropyModel(d.NoisyNormal, 64, scale_fn, 1, compression=True)
    indexes, loc = 63 * torch.rand(20_000), 10 * torch.randn(20_000)
    y = loc + scale_fn(indexes) * torch.randn(20_000)
    loose, tight = (model(y, indexes, loc, training=training)[1].item() for training in (True, False))
    coded = 8 * len(model.compress(y, indexes, loc))
    assert 0.999 * tight < coded <= 1.005 * tight + 16
    assert loose > 0.99 * tight
    assert torch.allclose(model.decompress(model.compress(y, indexes, loc), indexes, loc), model.quantize(y, loc))


def test_wrong_indexes_and_strings_are_named() -> None:
    indexed = grid_model(-1)
    for indexes in (torch.zeros(2, 3), torch.zeros(2, 3, 7), torch.zeros(2, 4, 7, 2)):
        with pytest.raises(InputError, match="indexes of shape"):
            indexed.compress(torch.zeros(2, 3, 7), indexes)
    with pytest.raises(InputError, match="NaN"):
        indexed.compress(torch.zeros(2, 3), torch.full((2, 3, 2), math.nan))
    with pytest.raises(InputError, match="strings of shape"):
        indexed.decompress([b""], torch.zeros(2, 3, 7, 2))
    with pytest.raises(InputError, match="one index range"):
        ContinuousIndexedEntropyModel(d.NoisyNormal, (2, 2), {}, 1, None)
    with pytest.raises(InputError, match="index_ranges"):
        ContinuousIndexedEntropyModel(d.NoisyNormal, (), {}, 1)
    with pytest.raises(InputError, match="combinations of indexes"):
        ContinuousIndexedEntropyModel(
            d.NoisyNormal, (4,), {"loc": lambda _: 0.0, "scale": lambda _: 1.0}, 1, None, compression=True
        )
