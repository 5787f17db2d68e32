"""Masked convolutions skip taps and positions, and give what a dense one gives with the mask multiplied in."""

from __future__ import annotations

import inspect

import pytest
import tinify_kernels.masked_conv2d as kernels
import torch
from torch import Tensor

from tinify import ops
from tinify.layers import CheckerboardMaskedConv2d, MaskedConv2d

TOLERANCE = {torch.float32: 2e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
CAUSAL, CHECKERBOARD = tuple(range(12)), tuple(range(1, 25, 2))
# batch, inputs, height, width, outputs, padding
SHAPES = ((2, 5, 6, 7, 8, 2), (1, 70, 3, 4, 20, 2), (1, 3, 7, 6, 130, 0))


def arguments(
    shape: tuple[int, ...], dtype: torch.dtype, last: bool, device: str
) -> tuple[Tensor, Tensor, Tensor, list[int]]:
    batch, inputs, height, width, outputs, padding = shape
    generator = torch.Generator().manual_seed(sum(shape))
    x = torch.randn(batch, inputs, height, width, generator=generator)
    weight = torch.randn(outputs, inputs, 5, 5, generator=generator) / (12 * inputs) ** 0.5
    bias = torch.randn(outputs, generator=generator)
    form = torch.channels_last if last else torch.contiguous_format
    x, weight, bias = (one.to(device, dtype) for one in (x, weight, bias))
    return x.contiguous(memory_format=form), weight, bias, [padding, padding]


def near(got: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    assert got.isfinite().all()
    assert (got.double() - expected).abs().max() <= TOLERANCE[dtype] * (expected.abs().max() + 1)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("last", [False, True], ids=["channels first", "channels last"])
@pytest.mark.parametrize("taps", [CAUSAL, CHECKERBOARD], ids=["causal", "checkerboard"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_forward_and_backward(
    shape: tuple[int, ...], taps: tuple[int, ...], dtype: torch.dtype, last: bool, device: str
) -> None:
    x, weight, bias, padding = arguments(shape, dtype, last, device)
    wide = x.double(), weight.double()
    out = kernels.masked_conv2d(x, weight, bias, taps, padding)
    expected = inspect.unwrap(ops.masked_conv2d)(*wide, bias.double(), taps, padding)
    assert (out.dtype, out.shape) == (dtype, expected.shape)
    near(out, expected, dtype)
    grad = torch.randn_like(out)
    found = kernels.masked_conv2d_backward(grad, x, weight, taps, padding)
    wanted = inspect.unwrap(ops.masked_conv2d_backward)(grad.double(), *wide, taps, padding)
    for got, other, like in zip(found, wanted, (x, weight, bias), strict=True):
        assert (got.dtype, got.shape) == (like.dtype, like.shape)
        near(got, other, dtype)
    height, width = out.shape[2:]
    rows, columns = torch.tensor([0, height - 1, 1]), torch.tensor([1, 0, width - 1])
    some = kernels.conv_at(x, weight, bias, taps, padding, rows.to(device), columns.to(device))
    near(some, expected[:, :, rows, columns], dtype)


def test_of_nothing(device: str) -> None:
    x, weight, bias, padding = arguments((0, 3, 4, 5, 2, 2), torch.float32, False, device)
    assert kernels.masked_conv2d(x, weight, bias, CAUSAL, padding).shape == (0, 2, 4, 5)
    of_x, of_weight, of_bias = kernels.masked_conv2d_backward(x[:, :2], x, weight, CAUSAL, padding)
    assert (of_x.shape, of_weight.any(), of_bias.any()) == (x.shape, False, False)
    x, nowhere = arguments((1, 3, 4, 5, 2, 2), torch.float32, False, device)[0], torch.tensor([], dtype=torch.int64)
    assert kernels.conv_at(x, weight, bias, CAUSAL, padding, nowhere, nowhere).shape == (1, 2, 0)


def test_any_strides(device: str) -> None:
    x, weight, bias, padding = arguments((2, 3, 8, 12, 4, 2), torch.float32, False, device)
    wide = x[:, :, ::2, 1::3]
    before = wide.clone()
    found = kernels.masked_conv2d(wide, weight, bias, CAUSAL, padding)
    assert torch.equal(found, kernels.masked_conv2d(before, weight, bias, CAUSAL, padding))
    assert torch.equal(wide, before)


@pytest.mark.parametrize("mask_type", ["A", "B"])
@pytest.mark.parametrize("layer", [MaskedConv2d, CheckerboardMaskedConv2d])
def test_layers_use_them(layer: type[MaskedConv2d], mask_type: str, device: str, kernels: None) -> None:
    torch.manual_seed(0)
    conv, x = layer(4, 6, 5, padding=2, mask_type=mask_type).to(device), torch.randn(1, 4, 6, 5, device=device)
    out = conv(x)
    near(out, torch.conv2d(x, conv.weight * conv.mask, conv.bias, padding=2).double(), torch.float32)
    out.square().sum().backward()
    assert not conv.weight.grad[conv.mask == 0].any()
    assert conv.weight.grad[conv.mask == 1].all()
    rows, columns = torch.tensor([5, 0], device=device), torch.tensor([2, 4], device=device)
    near(conv.at(x, rows, columns), out[:, :, rows, columns].double(), torch.float32)
