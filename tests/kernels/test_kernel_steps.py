"""The small fused steps are their definitions; noise is uniform, drawn by torch's generator, and never twice."""

from __future__ import annotations

import inspect
import math

import pytest
import tinify_kernels.gaussian as kernels
import torch
from tinify_kernels.ordered_linear import ordered_linear
from torch import Tensor

from tinify import ops
from tinify.entropy_models import GaussianConditional

TABLE = torch.exp(torch.linspace(math.log(0.11), math.log(64), 20))
SHAPES = ((3, 5, 7, 9), (2049,), (0, 3), (1,))


def latent(shape: tuple[int, ...], device: str) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(sum(shape))
    y, means = (5 * torch.randn(shape, generator=generator) for _ in range(2))
    return y.to(device), (0.05 + 4 * torch.rand(shape, generator=generator)).to(device), means.to(device)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("with_means", [True, False])
def test_likelihoods_and_their_gradients(shape: tuple[int, ...], with_means: bool, device: str) -> None:
    y, scales, means = latent(shape, device)
    wide = y.double(), scales.double(), means.double() if with_means else None
    given = y, scales, means if with_means else None
    torch.testing.assert_close(
        kernels.gaussian_likelihood(*given).double(),
        inspect.unwrap(ops.gaussian_likelihood)(*wide),
        rtol=1e-4,
        atol=1e-6,
    )
    grad = torch.randn_like(y)
    found = kernels.gaussian_likelihood_backward(grad, *given)
    expected = inspect.unwrap(ops.gaussian_likelihood_backward)(grad.double(), *wide)
    for got, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(got.double(), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_symbols_and_rows_are_the_definitions(shape: tuple[int, ...], dtype: torch.dtype, device: str) -> None:
    y, scales, means = (one.to(dtype) for one in latent(shape, device))
    table, bound = TABLE.to(device, dtype), torch.tensor([0.3], device=device)
    for given in means, None:
        found = kernels.quantize_indexes(y.float(), scales, given if given is None else given.float(), bound, table)
        expected = inspect.unwrap(ops.quantize_indexes)(
            y.float(), scales, given if given is None else given.float(), bound, table
        )
        assert all(map(torch.equal, found, expected))
    assert torch.equal(kernels.scale_indexes(scales, table), inspect.unwrap(ops.scale_indexes)(scales, table))


def test_halves_are_rounded_to_even_and_what_is_no_number_has_the_last_row(device: str) -> None:
    y = torch.tensor([0.5, 1.5, 2.5, -0.5, -1.5, 1e6 + 0.5, -3e8], device=device)
    scales = torch.tensor([math.nan, math.inf, -math.inf, 0.0, 1.0, 2.0, 3.0], device=device)
    one, table = torch.ones(1, device=device), TABLE.to(device)
    found = kernels.quantize_indexes(y, scales, None, 0 * one, table)
    expected = inspect.unwrap(ops.quantize_indexes)(y, scales, None, 0 * one, table)
    assert all(map(torch.equal, found, expected))


def test_any_strides(device: str) -> None:
    y, scales, means = latent((2, 6, 8, 10), device)
    laid = y.transpose(1, 3), scales.transpose(1, 3).contiguous(), means.transpose(1, 3)[:]
    torch.testing.assert_close(
        kernels.gaussian_likelihood(*laid), kernels.gaussian_likelihood(y, scales, means).transpose(1, 3)
    )
    sparse = [one[:, ::2, 1::3] for one in (y, scales, means)]
    torch.testing.assert_close(
        kernels.gaussian_likelihood(*sparse), kernels.gaussian_likelihood(y, scales, means)[:, ::2, 1::3]
    )


def test_noise_is_uniform_and_hangs_on_the_seed_alone(device: str) -> None:
    x = torch.zeros(100, 101, device=device)
    torch.manual_seed(1)
    one, two = kernels.add_noise(x), kernels.add_noise(x)
    torch.manual_seed(1)
    assert torch.equal(one, kernels.add_noise(x))
    noise = torch.cat([one, two]).flatten().double()
    assert noise.abs().max() <= 0.5
    ordered, even = noise.sort().values, torch.linspace(-0.5, 0.5, noise.numel(), dtype=torch.float64, device=device)
    assert (ordered - even).abs().max() < 1.95 / noise.numel() ** 0.5  # Kolmogorov's, at one in a thousand
    for first, second in (one, two), (one[:, 1:], one[:, :-1]), (one[1:], one[:-1]):
        assert abs(float(torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1])) < 0.04


def test_noise_keeps_the_gradient(device: str, kernels: None) -> None:
    x = torch.randn(3, 4, device=device, requires_grad=True)
    (3 * ops.add_noise(x)).sum().backward()
    assert x.grad.eq(3).all()


def test_models_train_with_them(device: str, kernels: None) -> None:
    model = GaussianConditional(TABLE.tolist()).to(device)
    y, scales, means = latent((1, 3, 4, 5), device)
    y, scales, means = (one.requires_grad_() for one in (y / 5, 1 + scales, means / 5))
    noisy, likelihood = model(y, scales, means, training=True)
    likelihood.log2().sum().backward()
    plain = [one.detach().double().requires_grad_() for one in (y, scales, means)]
    offset = (noisy - y).detach().double()
    model.double().likelihood(plain[0] + offset, *plain[1:]).log2().sum().backward()
    for one, other in zip((y, scales, means), plain, strict=True):
        torch.testing.assert_close(one.grad.double(), other.grad, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("shape", [(1, 1, 1), (19, 37, 50), (33, 8, 16), (0, 4, 5), (3, 0, 4)], ids=str)
@pytest.mark.parametrize("slope", [1.0, 0.01, 0.0])
def test_ordered_products(shape: tuple[int, int, int], slope: float, device: str) -> None:
    rows, inputs, outputs = shape
    x, weight = torch.randn(rows, inputs, device=device), torch.randn(inputs, outputs, device=device)
    for start in torch.randn(outputs, device=device), torch.randn(rows, outputs, device=device):
        expected = inspect.unwrap(ops.ordered_linear)(x.double(), weight.double(), start.double(), slope)
        found = ordered_linear(x, weight, start, slope)
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
        # Rows do not know of one another.
        if rows > 1 and start.ndim == 1:
            assert torch.equal(found[1:2], ordered_linear(x[1:2], weight, start, slope))
