"""Laws of the small operations and of GDN."""

from __future__ import annotations

import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from tinify.errors import InputError
from tinify.layers import GDN, DepthwiseBlock
from tinify.ops import LowerBound, NonNegativeParametrizer, compute_padding, quantize_ste


def test_straight_through_rounds_forward_and_passes_gradients() -> None:
    x = torch.tensor([0.5, 1.5, -0.4, 2.6], requires_grad=True)
    y = quantize_ste(x)
    assert y.tolist() == [0.0, 2.0, 0.0, 3.0]
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1.0] * 4


@pytest.mark.parametrize(
    ("x", "upstream", "expected"), [(0.0, 1.0, 0.0), (0.0, -1.0, -1.0), (1.0, 1.0, 1.0), (0.5, 1.0, 1.0)]
)
def test_lower_bound_lets_gradients_through_that_raise(x: float, upstream: float, expected: float) -> None:
    value = torch.tensor([x], requires_grad=True)
    bounded = LowerBound(0.5)(value)
    assert float(bounded.detach()) == max(x, 0.5)
    bounded.backward(torch.tensor([upstream]))
    assert value.grad is not None
    assert float(value.grad) == expected


def test_lower_bound_can_be_scripted() -> None:
    x = torch.tensor([0.0, 0.25, 1.0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer PyTorch advises another compiler
        scripted = torch.jit.script(LowerBound(0.25))
    assert torch.equal(scripted(x), LowerBound(0.25)(x))


@given(st.floats(0, 100), st.floats(0, 1))
def test_parametrizer_inverts_its_init_and_respects_the_minimum(value: float, minimum: float) -> None:
    parametrizer = NonNegativeParametrizer(minimum=minimum)
    stored = parametrizer.init(torch.tensor([value]))
    assert float(parametrizer(stored)) == pytest.approx(max(value, minimum), rel=1e-5, abs=1e-9)


@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from([1, 4, 16, 64]))
def test_padding_is_centred_minimal_and_undone(height: int, width: int, multiple: int) -> None:
    pad, unpad = compute_padding(height, width, min_div=multiple)
    x = torch.arange(height * width).reshape(1, 1, height, width)
    padded = F.pad(x, pad)
    assert padded.shape[2] % multiple == padded.shape[3] % multiple == 0
    assert padded.shape[2] < height + multiple
    assert 0 <= pad[1] - pad[0] <= 1
    assert 0 <= pad[3] - pad[2] <= 1
    assert torch.equal(F.pad(padded, unpad), x)


def test_padding_refuses_a_target_that_is_too_small() -> None:
    with pytest.raises(InputError, match="cannot pad 8x8 to 4x8"):
        compute_padding(8, 8, out_h=4, out_w=8)


@pytest.mark.parametrize("target", [{"out_h": 9, "min_div": 4}, {"out_h": 8, "out_w": 10, "min_div": 4}, {"out_w": 7}])
def test_padding_refuses_a_target_that_does_not_fit(target: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="the target must be a multiple of"):
        compute_padding(8, 8, **target)  # type: ignore[arg-type]


@pytest.mark.parametrize("inverse", [False, True])
def test_gdn_is_its_formula_at_every_pixel(inverse: bool) -> None:
    torch.manual_seed(0)
    gdn = GDN(5, inverse=inverse)
    with torch.no_grad():
        gdn.gamma.add_(torch.rand(5, 5) * 0.1)
    x = torch.randn(2, 5, 3, 4)
    beta, gamma = gdn.beta_reparam(gdn.beta), gdn.gamma_reparam(gdn.gamma)
    norm = torch.sqrt(beta + (x**2).permute(0, 2, 3, 1) @ gamma.T).permute(0, 3, 1, 2)
    torch.testing.assert_close(gdn(x), x * norm if inverse else x / norm)


def test_gdn_stores_the_fields_parameters() -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in GDN(7).state_dict().items()}
    assert shapes == {
        "beta": (7,),
        "gamma": (7, 7),
        "beta_reparam.pedestal": (1,),
        "beta_reparam.lower_bound.bound": (1,),
        "gamma_reparam.pedestal": (1,),
        "gamma_reparam.lower_bound.bound": (1,),
    }


def test_depthwise_block_leaves_its_input_alone() -> None:
    block, x = DepthwiseBlock(8), torch.randn(1, 8, 5, 6)
    before = x.clone()
    assert block(x).shape == x.shape
    assert torch.equal(x, before)
