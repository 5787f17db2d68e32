"""Several rates as objectives: the shortest mean of their gradients, and a run that is told to weigh them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_runs import draw_photos, everything, reload, run

import tinify
from tinify.errors import InputError
from tinify.training.config import TrainingConfig
from tinify.training.objectives import combine, least_norm
from tinify.training.state import TrainingState


@given(st.integers(1, 8), st.integers(1, 30), st.integers(0, 999))
def test_the_shortest_mean_makes_every_objective_better(count: int, size: int, seed: int) -> None:
    vectors = torch.randn(count, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    weights = least_norm(vectors @ vectors.T)
    assert float(weights.min()) >= 0
    assert float(weights.sum()) == pytest.approx(1)
    mean = weights @ vectors
    length = float(mean @ mean)
    # Of the shortest, every inner product is its length or more; Frank and Wolfe come near it.
    assert float((vectors @ mean).min()) >= length - 0.02 * float((vectors * vectors).sum(1).max())


@given(st.integers(0, 999))
def test_of_two_it_is_where_a_line_comes_nearest(seed: int) -> None:
    a, b = torch.randn(2, 9, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    share = ((b - a) @ b / ((b - a) @ (b - a))).clamp(0, 1)
    weights = least_norm(torch.stack([torch.stack([a @ a, a @ b]), torch.stack([a @ b, b @ b])]))
    assert float(weights[0]) == pytest.approx(float(share), abs=1e-6)


def test_gradients_that_agree_are_left_alone() -> None:
    gradient = [torch.randn(3, 2), torch.randn(4)]
    for found, expected in zip(combine([gradient, gradient]), gradient, strict=True):
        torch.testing.assert_close(found, expected)


def test_objectives_need_a_range_and_an_even_batch() -> None:
    with pytest.raises(InputError, match="give lambda a range"):
        TrainingConfig(lmbda=0.01, objectives=2)
    with pytest.raises(InputError, match="a batch of 8 does not part into 3"):
        TrainingConfig(lmbda=(0.01, 0.1), objectives=3)


def begun(steps: int) -> TrainingState:
    torch.manual_seed(0)
    model = tinify.create_model("mbt2018-mean-vbr", N=8, M=8)
    return TrainingState(model, TrainingConfig(steps=steps, lmbda=(0.01, 0.1), batch=4, crop=64, lr=1e-3, objectives=2))


def test_a_run_that_weighs_objectives_resumes_exactly(tmp_path: Path) -> None:
    photos = draw_photos(tmp_path / "photos")
    whole = run(begun(4), photos, tmp_path / "whole")
    run(begun(2), photos, tmp_path / "parts")
    half = reload(tmp_path / "parts")
    half.config = whole.config
    again = run(half, photos, tmp_path / "parts")
    assert all(torch.equal(tensor, everything(again)[name]) for name, tensor in everything(whole).items())
    plain = begun(4)
    plain.config = replace(whole.config, objectives=1)
    other = everything(run(plain, photos, tmp_path / "plain"))
    assert not all(torch.equal(tensor, other[name]) for name, tensor in everything(whole).items())
