"""GDN's kernels are their definition: every form, odd sizes, half types, both memory formats, and gradients."""

from __future__ import annotations

import inspect
import itertools

import pytest
import tinify_kernels.gdn as kernels
import torch
from torch import Tensor

from tinify import ops

TOLERANCE = {torch.float32: 2e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
SHAPES = ((2, 5, 3, 4), (1, 70, 9, 17), (3, 16, 1, 33), (1, 1, 1, 1))
FORMS = tuple(itertools.product((False, True), repeat=2))


def arguments(shape: tuple[int, ...], dtype: torch.dtype, last: bool, device: str) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(sum(shape))
    x = torch.randn(shape, generator=generator).to(device, dtype)
    beta = torch.rand(shape[1], generator=generator) + 0.5
    gamma = torch.rand(shape[1], shape[1], generator=generator) / shape[1]
    form = torch.channels_last if last else torch.contiguous_format
    return x.contiguous(memory_format=form), beta.to(device), gamma.to(device)


def near(got: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    assert got.isfinite().all()
    scale = expected.abs().max() + 1
    assert (got.double() - expected).abs().max() <= TOLERANCE[dtype] * scale


def agree(x: Tensor, beta: Tensor, gamma: Tensor, inverse: bool, absolute: bool) -> None:
    wide = x.double(), beta.double(), gamma.double()
    out = kernels.gdn(x, beta, gamma, inverse, absolute)
    assert (out.dtype, out.shape, out.stride()) == (x.dtype, x.shape, x.stride())
    near(out, inspect.unwrap(ops.gdn)(*wide, inverse, absolute), x.dtype)
    grad = torch.randn_like(x)
    found = kernels.gdn_backward(grad, x, beta, gamma, inverse, absolute)
    expected = inspect.unwrap(ops.gdn_backward)(grad.double(), *wide, inverse, absolute)
    for got, wanted, like in zip(found, expected, (x, beta, gamma), strict=True):
        assert (got.dtype, got.shape) == (like.dtype, like.shape)
        near(got, wanted, x.dtype)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("last", [False, True], ids=["channels first", "channels last"])
@pytest.mark.parametrize(("inverse", "absolute"), FORMS)
@pytest.mark.parametrize("shape", SHAPES[:2], ids=str)
def test_forward_and_backward(
    shape: tuple[int, ...], dtype: torch.dtype, last: bool, inverse: bool, absolute: bool, device: str
) -> None:
    agree(*arguments(shape, dtype, last, device), inverse, absolute)


@pytest.mark.parametrize("channels", [1, 16, 33, 128, 192, 257, 320, 512])
def test_any_number_of_channels(channels: int, device: str) -> None:
    agree(*arguments((1, channels, 1, 3), torch.float32, False, device), False, False)


@pytest.mark.parametrize("shape", [(0, 4, 2, 2), (2, 4, 0, 3)])
def test_of_nothing(shape: tuple[int, ...], device: str) -> None:
    x, beta, gamma = arguments(shape, torch.float32, False, device)
    assert kernels.gdn(x, beta, gamma).shape == shape
    of_x, of_beta, of_gamma = kernels.gdn_backward(x, x, beta, gamma, False, False)
    assert of_x.shape == shape
    assert not of_beta.any()
    assert not of_gamma.any()


def test_large_squares_of_half_types(device: str) -> None:
    x, beta, gamma = arguments((1, 8, 4, 4), torch.float16, False, device)
    out = kernels.gdn(1000 * x, beta, gamma)
    near(out, inspect.unwrap(ops.gdn)((1000 * x).double(), beta.double(), gamma.double()), torch.float16)


def test_any_strides(device: str) -> None:
    x, beta, gamma = arguments((2, 6, 8, 10), torch.float32, False, device)
    wide = x[:, :, ::2, 1::3]
    before = wide.clone()
    expected = inspect.unwrap(ops.gdn)(before.double(), beta.double(), gamma.double())
    near(kernels.gdn(wide, beta, gamma), expected, torch.float32)
    assert torch.equal(wide, before)


def test_gradients_through_the_operator(device: str, kernels: None) -> None:
    x, beta, gamma = (one.requires_grad_() for one in arguments((1, 6, 3, 5), torch.float32, False, device))
    ops.gdn(x, beta, gamma).square().sum().backward()
    plain = [one.detach().double().requires_grad_() for one in (x, beta, gamma)]
    ops.gdn(*plain).square().sum().backward()  # of float64, which is the definition
    for one, other in zip((x, beta, gamma), plain, strict=True):
        near(one.grad, other.grad, torch.float32)
