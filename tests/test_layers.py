"""Laws of the layers: each is its readable definition, sees what it may, and keeps the field's state dict."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from tinify import layers
from tinify.errors import InputError
from tinify.layers import (
    GDN1,
    AttentionBlock,
    CheckerboardMaskedConv2d,
    Gain,
    Interleave,
    Lambda,
    MaskedConv2d,
    NamedLayer,
    QReLU,
    Reshape,
    ResidualBlock,
    ResidualBlockUpsample,
    ResidualBlockWithStride,
    ResidualBottleneckBlock,
    SpectralConv2d,
    SpectralConvTranspose2d,
    Transpose,
    conv1x1,
    conv3x3,
    sequential_channel_ramp,
    subpel_conv3x3,
)
from tinify.layers.layers import ramp

ODD = st.sampled_from([1, 3, 5, 7])
KERNELS = st.tuples(ODD, ODD)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def influence(module: nn.Module, height: int, width: int) -> Tensor:
    """Whether an output position, (rows, columns), depends on an input position: (H, W, H, W)."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(1.0)
    jacobian: Any = torch.autograd.functional.jacobian(lambda x: module(x).sum((0, 1)), torch.ones(1, 1, height, width))
    return jacobian.squeeze(2, 3) != 0


def padding(kernel: tuple[int, int]) -> tuple[int, int]:
    return kernel[0] // 2, kernel[1] // 2


@given(KERNELS, st.sampled_from(["A", "B"]))
def test_a_masked_convolution_sees_all_that_comes_before_within_its_kernel(
    kernel: tuple[int, int], mask_type: str
) -> None:
    seen = influence(MaskedConv2d(1, 1, kernel, padding=padding(kernel), mask_type=mask_type), 5, 6)
    (up, left), place = padding(kernel), torch.cartesian_prod(torch.arange(5), torch.arange(6)).reshape(5, 6, 2)
    offset = place - place[:, :, None, None]
    inside = (offset[..., 0].abs() <= up) & (offset[..., 1].abs() <= left)
    before = offset[..., 0] * 6 + offset[..., 1] < (mask_type == "B")
    assert torch.equal(seen, inside & before)


@given(KERNELS, st.sampled_from(["A", "B"]))
def test_a_checkerboard_convolution_sees_the_other_colour_within_its_kernel(
    kernel: tuple[int, int], mask_type: str
) -> None:
    seen = influence(CheckerboardMaskedConv2d(1, 1, kernel, padding=padding(kernel), mask_type=mask_type), 5, 6)
    (up, left), place = padding(kernel), torch.cartesian_prod(torch.arange(5), torch.arange(6)).reshape(5, 6, 2)
    offset = place - place[:, :, None, None]
    inside = (offset[..., 0].abs() <= up) & (offset[..., 1].abs() <= left)
    itself = (offset == 0).all(-1)
    other = offset.sum(-1) % 2 == 1
    assert torch.equal(seen, inside & (other | itself if mask_type == "B" else other))


MASKED = [MaskedConv2d, CheckerboardMaskedConv2d]


@pytest.mark.parametrize("masked", MASKED)
@pytest.mark.parametrize("options", [{}, {"groups": 2}, {"stride": 2}, {"dilation": 2}, {"padding_mode": "reflect"}])
def test_a_masked_convolution_is_one_of_masked_weights(masked: type[MaskedConv2d], options: dict[str, Any]) -> None:
    layer, x = masked(4, 6, 3, padding=1, mask_type="B", **options).double(), normal(2, 4, 5, 7)
    plain = nn.Conv2d(4, 6, 3, padding=1, **options).double()
    before = copy.deepcopy(layer.state_dict())
    plain.load_state_dict({"weight": layer.weight.detach() * layer.mask, "bias": layer.bias})  # type: ignore[dict-item]
    out = layer(x)
    torch.testing.assert_close(out, plain(x), rtol=0, atol=0)
    out.square().sum().backward()
    plain(x).square().sum().backward()
    assert layer.weight.grad is not None
    assert plain.weight.grad is not None
    torch.testing.assert_close(layer.weight.grad, plain.weight.grad * layer.mask)
    assert not layer.weight.grad[layer.mask == 0].any()
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


@pytest.mark.parametrize("masked", MASKED)
def test_another_mask_type_is_named(masked: type[MaskedConv2d]) -> None:
    with pytest.raises(InputError, match="mask_type 'C': expected 'A'") as raised:
        masked(1, 1, 3, mask_type="C")
    assert isinstance(raised.value, ValueError)


SPECTRAL: list[tuple[type[Any], type[Any]]] = [
    (SpectralConv2d, nn.Conv2d),
    (SpectralConvTranspose2d, nn.ConvTranspose2d),
]


@pytest.mark.parametrize(("spectral", "plain"), SPECTRAL)
@pytest.mark.parametrize("kernel", [1, 2, 3, (3, 4), (5, 1), (1, 5)])
def test_a_spectral_convolution_is_the_plain_one_of_its_kernel(spectral: Any, plain: Any, kernel: Any) -> None:
    layer, other, x = (
        spectral(4, 6, kernel, stride=2, groups=2),
        plain(4, 6, kernel, stride=2, groups=2),
        normal(2, 4, 7, 8),
    )
    layer, other = layer.to(torch.float64), other.double()
    assert isinstance(layer, plain)
    assert set(layer.state_dict()) == {"weight_transformed", "bias"}
    assert layer.weight_transformed.dtype == torch.complex128
    other.load_state_dict({"weight": layer.weight, "bias": layer.bias})
    torch.testing.assert_close(layer(x), other(x))
    layer.load_state_dict({"weight_transformed": torch.fft.rfft2(other.weight, norm="ortho"), "bias": layer.bias})
    torch.testing.assert_close(layer.weight, other.weight)
    # The transform is orthonormal, so that steps in it are steps of the kernel that differ in scale alone.
    layer(x).square().sum().backward()
    other(x).square().sum().backward()
    gradient = other.weight.grad
    doubled = torch.fft.fft2(gradient, norm="ortho")[..., : layer.weight_transformed.shape[-1]]
    mirrored = torch.ones(layer.weight_transformed.shape[-1])
    mirrored[1 : (layer.kernel_size[1] + 1) // 2] = 2
    torch.testing.assert_close(layer.weight_transformed.grad, doubled * mirrored)


@pytest.mark.parametrize(("spectral", "plain"), SPECTRAL)
def test_a_spectral_convolution_can_be_cast_moved_and_copied(spectral: Any, plain: Any) -> None:
    torch.manual_seed(0)
    layer = spectral(3, 4, 5)
    weight = layer.weight.detach().clone()
    for cast in (nn.Module.double, lambda module: module.to(torch.float64), copy.deepcopy):
        assert torch.allclose(cast(copy.deepcopy(layer)).weight.float(), weight, atol=1e-7)
    laid = copy.deepcopy(layer).to(memory_format=torch.channels_last)
    x = torch.randn(1, 3, 9, 9)
    torch.testing.assert_close(laid(x.to(memory_format=torch.channels_last)), layer(x))
    assert layer.to("meta").weight.shape == weight.shape


def leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.01)


CHANNELS = st.sampled_from([1, 2, 3, 5])
SIDES = st.tuples(st.integers(1, 7), st.integers(1, 7))


@given(CHANNELS, CHANNELS, SIDES)
def test_a_residual_block_is_its_definition(wide: int, narrow: int, size: tuple[int, int]) -> None:
    block, x = ResidualBlock(wide, narrow).double(), normal(2, wide, *size)
    out = leaky(block.conv2(leaky(block.conv1(x))))
    assert ("skip.weight" in block.state_dict()) == (wide != narrow)
    torch.testing.assert_close(block(x), out + (block.skip(x) if block.skip else x))


@given(CHANNELS, CHANNELS, SIDES, st.sampled_from([1, 2, 3]))
def test_a_residual_block_with_stride_is_its_definition(
    wide: int, narrow: int, size: tuple[int, int], stride: int
) -> None:
    block, x = ResidualBlockWithStride(wide, narrow, stride).double(), normal(2, wide, *size)
    out = block.gdn(block.conv2(leaky(block.conv1(x))))
    assert ("skip.weight" in block.state_dict()) == (wide != narrow or stride > 1)
    assert block(x).shape[2:] == tuple(-(-side // stride) for side in size)
    torch.testing.assert_close(block(x), out + (block.skip(x) if block.skip else x))


@given(CHANNELS, CHANNELS, SIDES, st.sampled_from([1, 2, 3]))
def test_a_residual_block_upsample_is_its_definition(
    wide: int, narrow: int, size: tuple[int, int], factor: int
) -> None:
    block, x = ResidualBlockUpsample(wide, narrow, factor).double(), normal(2, wide, *size)
    out = block.igdn(block.conv(leaky(block.subpel_conv(x))))
    assert block.igdn.inverse
    assert block(x).shape == (2, narrow, *(factor * side for side in size))
    torch.testing.assert_close(block(x), out + block.upsample(x))


@given(CHANNELS, CHANNELS, SIDES)
def test_a_bottleneck_is_its_definition(wide: int, narrow: int, size: tuple[int, int]) -> None:
    block, x = ResidualBottleneckBlock(wide, narrow).double(), normal(2, wide, *size)
    out = block.conv3(F.relu(block.conv2(F.relu(block.conv1(x)))))
    assert block.conv2.in_channels == max(1, min(wide, narrow) // 2)
    torch.testing.assert_close(block(x), out + (block.skip(x) if block.skip else x))


@given(CHANNELS, SIDES)
def test_attention_is_its_definition(channels: int, size: tuple[int, int]) -> None:
    block, x = AttentionBlock(channels).double(), normal(2, channels, *size)

    def branch(units: nn.Sequential, at: Tensor) -> Tensor:
        for unit in units:
            down, _, across, _, up = unit.conv  # type: ignore[misc, union-attr]
            at = F.relu(up(F.relu(across(F.relu(down(at))))) + at)
        return at

    weights = torch.sigmoid(block.conv_b[3](branch(block.conv_b[:3], x)))
    torch.testing.assert_close(block(x), branch(block.conv_a, x) * weights + x)


@given(SIDES, st.sampled_from([1, 2, 3]))
def test_a_subpixel_convolution_deals_channels_out_in_space(size: tuple[int, int], r: int) -> None:
    layer, x = subpel_conv3x3(3, 2, r).double(), normal(2, 3, *size)
    assert set(layer.state_dict()) == {"0.weight", "0.bias"}
    wide = layer[0](x).reshape(2, 2, r, r, *size)
    out = layer(x)
    for row in range(r):
        for column in range(r):
            assert torch.equal(out[..., row::r, column::r], wide[:, :, row, column])


def test_small_convolutions_keep_their_place() -> None:
    assert (conv1x1(3, 4).kernel_size, conv1x1(3, 4).padding) == ((1, 1), (0, 0))
    assert (conv3x3(3, 4, 2).kernel_size, conv3x3(3, 4, 2).padding, conv3x3(3, 4, 2).stride) == ((3, 3), (1, 1), (2, 2))


@pytest.mark.parametrize("inverse", [False, True])
def test_gdn1_is_its_formula_at_every_pixel(inverse: bool) -> None:
    layer, x = GDN1(5, inverse=inverse).double(), normal(2, 5, 3, 4)
    with torch.no_grad():
        layer.gamma.add_(0.1 * normal(5, 5).abs())
    beta, gamma = layer.beta_reparam(layer.beta), layer.gamma_reparam(layer.gamma)
    norm = (beta + x.abs().permute(0, 2, 3, 1) @ gamma.T).permute(0, 3, 1, 2)
    torch.testing.assert_close(layer(x), x * norm if inverse else x / norm)


@given(st.integers(1, 10), st.floats(0.5, 200))
def test_qrelu_clamps_and_its_gradient_fades_outside(bits: int, beta: float) -> None:
    high = 2**bits - 1
    x = (normal(50) * 2 * high).requires_grad_()
    out = QReLU.apply(x, bits, beta)
    assert torch.equal(out, x.clamp(0, high))
    (gradient,) = torch.autograd.grad(out.sum(), x)
    inside = (x >= 0) & (x <= high)
    distance = (2 * x.detach() / high - 1).abs()
    assert bool((gradient[inside] == 1).all())
    expected = torch.exp(-(0.9943258522851727**beta) * distance**beta)
    torch.testing.assert_close(gradient[~inside], expected[~inside])
    assert bool((gradient[~inside] <= 1).all())


@given(st.integers(1, 700), st.integers(1, 700), st.integers(1, 8), st.integers(0, 400))
def test_a_ramp_goes_straight_from_end_to_end(in_ch: int, out_ch: int, count: int, least: int) -> None:
    made: list[tuple[int, int]] = []

    def layer(wide: int, narrow: int) -> nn.Module:
        made.append((wide, narrow))
        return nn.Identity()

    sequential_channel_ramp(in_ch, out_ch, min_ch=least, num_layers=count, make_layer=layer)
    between = ramp(in_ch, out_ch, count + 1, dtype=torch.float64)[1:-1]
    expected = [in_ch, *(max(least, int(width + 1e-9)) for width in between.tolist()), out_ch]
    assert made == list(pairwise(expected))


def test_a_ramp_has_activations_where_it_should() -> None:
    options: dict[str, Any] = {"make_layer": conv3x3, "make_act": nn.GELU, "stride": 2, "num_layers": 2}
    plain = sequential_channel_ramp(8, 2, **options)
    assert [type(layer) for layer in plain] == [nn.Conv2d, nn.GELU, nn.Conv2d]
    assert plain[0].stride == (2, 2)
    assert isinstance(sequential_channel_ramp(8, 2, skip_last_act=False, **options)[-1], nn.GELU)
    even_ratios = sequential_channel_ramp(100, 1, interp="log", kernel_size=1)[::2]
    assert [layer.out_channels for layer in even_ratios] == [21, 4, 1]
    with pytest.raises(InputError, match="unknown ramp 'cubic': expected 'linear', or 'log'"):
        sequential_channel_ramp(8, 2, interp="cubic", kernel_size=1)
    with pytest.raises(InputError, match="num_layers=0: expected at least 1"):
        sequential_channel_ramp(8, 2, num_layers=0)


@given(st.integers(1, 5), st.integers(1, 5), st.sampled_from([(), (4,), (2, 3)]))
def test_interleaving_is_undone_by_the_other_number_of_groups(groups: int, share: int, rest: tuple[int, ...]) -> None:
    x = normal(2, groups * share, *rest)
    mixed = Interleave(groups)(x)
    assert torch.equal(Interleave(share)(mixed), x)
    assert torch.equal(mixed[:, :groups], x[:, ::share])


def test_basic_layers_do_what_they_are_called() -> None:
    x = normal(2, 6, 4)
    assert torch.equal(Lambda(torch.square)(x), x**2)
    assert NamedLayer("latent")(x) is x
    assert torch.equal(Reshape((3, 8))(x), x.reshape(2, 3, 8))
    swapped = Transpose(1, 2)(x)
    assert torch.equal(swapped, x.mT)
    assert swapped.is_contiguous()
    gain = Gain((6, 1), factor=2.0).double()
    with torch.no_grad():
        gain.gain.mul_(torch.arange(6)[:, None])
    assert torch.equal(gain(x), 2 * torch.arange(6)[:, None] * x)
    assert [repr(layer) for layer in (Lambda(torch.square), NamedLayer("latent"), Reshape((3, 8)), Interleave(2))] == [
        "Lambda(square)",
        "NamedLayer(latent)",
        "Reshape((3, 8))",
        "Interleave(2)",
    ]
    with pytest.raises(InputError, match="6 channels do not make 4 equal groups"):
        Interleave(4)(x)


GDN_KEYS = {
    "beta",
    "gamma",
    *(f"{name}_reparam.{rest}" for name in ("beta", "gamma") for rest in ("pedestal", "lower_bound.bound")),
}
FIELD = [
    (GDN1(2), GDN_KEYS),
    (MaskedConv2d(1, 1, 3), {"weight", "bias", "mask"}),
    (CheckerboardMaskedConv2d(1, 1, 3, bias=False), {"weight", "mask"}),
    (ResidualBlock(2, 2), {f"conv{i}.{p}" for i in (1, 2) for p in ("weight", "bias")}),
    (
        ResidualBlockWithStride(2, 2),
        {f"{name}.{p}" for name in ("conv1", "conv2", "skip") for p in ("weight", "bias")}
        | {f"gdn.{key}" for key in GDN_KEYS},
    ),
    (
        ResidualBlockUpsample(2, 2),
        {f"{name}.{p}" for name in ("subpel_conv.0", "conv", "upsample.0") for p in ("weight", "bias")}
        | {f"igdn.{key}" for key in GDN_KEYS},
    ),
    (ResidualBottleneckBlock(2, 2), {f"conv{i}.{p}" for i in (1, 2, 3) for p in ("weight", "bias")}),
    (
        AttentionBlock(2),
        {f"conv_{b}.{u}.conv.{i}.{p}" for b in "ab" for u in range(3) for i in (0, 2, 4) for p in ("weight", "bias")}
        | {"conv_b.3.weight", "conv_b.3.bias"},
    ),
    (Gain((3, 1)), {"gain"}),
]


@pytest.mark.parametrize(("layer", "keys"), FIELD, ids=lambda value: type(value).__name__)
def test_state_dicts_have_the_fields_keys(layer: nn.Module, keys: set[str]) -> None:
    assert set(layer.state_dict()) == keys


@pytest.mark.parametrize("layer", [layer for layer, _ in FIELD[:-1]], ids=lambda layer: type(layer).__name__)
def test_the_memory_layout_does_not_matter_and_the_input_stays(layer: nn.Module) -> None:
    layer = copy.deepcopy(layer).double()
    x = normal(2, 1 if isinstance(layer, MaskedConv2d) else 2, 6, 7)
    before, out = x.clone(), layer(x)
    torch.testing.assert_close(layer(x.to(memory_format=torch.channels_last)), out)
    assert torch.equal(x, before)


def test_the_fields_module_path_has_the_same_layers() -> None:
    for name in set(layers.layers.__all__) - {"ramp"}:
        assert getattr(layers.layers, name) is getattr(layers, name)
