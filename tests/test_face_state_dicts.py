"""State dicts of the field's classes: old spellings are read, tables of any size fit, what does not is named."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_faces import SMALL, each, same_state, small
from torch import Tensor, nn

import tinify
from tinify.errors import StateDictError
from tinify.models import (
    CompressionModel,
    FactorizedPrior,
    MeanScaleHyperprior,
    ScaleHyperprior,
)
from tinify.models.faces import Face


def old_keys(state: dict[str, Tensor], spelling: str) -> dict[str, Tensor]:
    """A state dict under the keys of earlier years."""
    made = {}
    for key, tensor in state.items():
        for new, old in (("matrices", "matrix"), ("biases", "bias"), ("factors", "factor")):
            key = key.replace(f".{new}.", f"._{old}" if spelling == "2021" else f"._{new}.")
        made[f"module._orig_mod.{key.replace('.skip.', '.downsample.')}"] = tensor
    return made


@each
@pytest.mark.parametrize("spelling", ["2020", "2021"])
def test_old_spellings_of_keys(face: type[Face], spelling: str) -> None:
    model = small(face)
    old = old_keys(model.state_dict(), spelling)
    assert old.keys().isdisjoint(model.state_dict())
    assert same_state(face.from_state_dict(old), model)
    other = face(**SMALL[face])
    other.load_state_dict(old)
    assert same_state(other, model)
    assert same_state(face.from_state_dict(tinify.zoo.load_state_dict(old)), model)


def test_tables_of_any_size_replace_tables() -> None:
    model, other = small(MeanScaleHyperprior), small(MeanScaleHyperprior)
    model.update(scale_table=[0.2, 1.0, 5.0], force=True)
    assert model.gaussian_conditional.scale_table.tolist() == pytest.approx([0.2, 1.0, 5.0])
    other.update()
    other.load_state_dict(model.state_dict())
    assert same_state(other, model)
    x = torch.rand(1, 3, 64, 64)
    assert other.compress(x)["strings"] == model.compress(x)["strings"]
    empty = MeanScaleHyperprior(8, 12).state_dict()
    empty["gaussian_conditional.scale_table"] = torch.empty(0)  # as the field saves it before an update
    fresh = MeanScaleHyperprior(8, 12)
    fresh.load_state_dict(empty)
    assert len(fresh.gaussian_conditional.scale_table) == 64
    assert not fresh.gaussian_conditional.has_tables


def test_keys_of_ones_own_are_left_alone() -> None:
    class Own(CompressionModel):
        def __init__(self) -> None:
            super().__init__()
            self.module = nn.Linear(2, 2)
            self.register_buffer("_bias0", torch.ones(1))

    state = Own().state_dict()
    assert "module.weight" in state
    Own().load_state_dict(state)


@each
def test_weights_of_another_architecture_are_named(face: type[Face]) -> None:
    wrong = small(face)
    target = FactorizedPrior if face is not FactorizedPrior else ScaleHyperprior
    with pytest.raises(StateDictError, match=rf"like {face.__name__}\(N=8.*from_state_dict"):
        target.from_state_dict(wrong.state_dict())
    with pytest.raises(RuntimeError, match=rf"not those of {target.__name__}"):
        target(8, 12).load_state_dict(wrong.state_dict())


def test_what_differs_is_listed() -> None:
    model = small(ScaleHyperprior)
    state = model.state_dict()
    del state["h_a.0.bias"]
    state["h_b.weight"] = torch.zeros(1)
    state["g_a.0.weight"] = torch.zeros(8, 4, 5, 5)
    with pytest.raises(StateDictError) as caught:
        model.load_state_dict(state)
    message = str(caught.value)
    assert "missing h_a.0.bias; surplus h_b.weight; g_a.0.weight is (8, 4, 5, 5)" in message
    assert "look like" not in message
    del state["g_a.0.weight"]
    left = model.load_state_dict(state, strict=False)
    assert (left.missing_keys, left.unexpected_keys) == (["g_a.0.weight", "h_a.0.bias"], ["h_b.weight"])
    state = model.state_dict()
    state["h_a.0.bias"] = torch.full((8,), torch.nan)
    with pytest.raises(StateDictError, match=r"h_a\.0\.bias has NaN"):
        ScaleHyperprior.from_state_dict(state)


@pytest.mark.parametrize(
    ("foreign", "message"),
    [
        ({}, "no 'g_a.0.weight'"),
        ({"g_a.0.weight": torch.zeros(())}, "no 'g_a.0.weight'"),
        ({"state_dict": {}, "epoch": 3}, "give the state dict inside"),
        ({"g_a.0.weight": 3}, "g_a.0.weight is of type int"),
        ({3: torch.zeros(1)}, "got a dict without names"),
        ([], "got a list"),
    ],
)
def test_what_is_no_state_dict_is_named(foreign: Any, message: str) -> None:
    with pytest.raises(StateDictError, match=message):
        ScaleHyperprior.from_state_dict(foreign)
    with pytest.raises(StateDictError):
        small(ScaleHyperprior).load_state_dict(foreign)
