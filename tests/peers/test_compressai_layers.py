"""Layers, operations, transforms, the loss and the optimizers give CompressAI's values and gradients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peer import peer
from PIL import Image
from torch import Tensor, nn

from tinify import datasets, layers, ops, optimizers, transforms
from tinify.errors import InputError
from tinify.layers.layers import ramp
from tinify.losses import RateDistortionLoss

theirs = peer("layers")
SIZES = [(1, 1), (5, 7), (13, 3), (16, 9)]

LAYERS: list[tuple[str, tuple[Any, ...], dict[str, Any], int]] = [
    *(
        (name, (channels,), {"inverse": inverse}, channels)
        for name in ("GDN", "GDN1")
        for channels in (1, 7)
        for inverse in (False, True)
    ),
    *(
        (name, (4, 6, kernel), {"padding": kernel // 2, "mask_type": mask, **options}, 4)
        for name in ("MaskedConv2d", "CheckerboardMaskedConv2d")
        for kernel in (1, 3, 5)
        for mask in "AB"
        for options in ({}, {"groups": 2, "bias": False})
    ),
    ("MaskedConv2d", (2, 3, (1, 5)), {"padding": (0, 2)}, 2),
    ("MaskedConv2d", (2, 3, (3, 1)), {"padding": (1, 0), "mask_type": "B"}, 2),
    ("SpectralConv2d", (3, 4, 5), {"stride": 2, "padding": 2}, 3),
    ("SpectralConv2d", (3, 4, (1, 4)), {"padding": (0, 2)}, 3),
    ("SpectralConvTranspose2d", (3, 4, 5), {"stride": 2, "padding": 2, "output_padding": 1}, 3),
    *(("ResidualBlock", (wide, narrow), {}, wide) for wide, narrow in ((4, 4), (3, 5))),
    *(("ResidualBlockWithStride", args, {}, args[0]) for args in ((4, 4), (3, 5, 1), (4, 4, 1), (3, 5, 3))),
    *(("ResidualBlockUpsample", args, {}, args[0]) for args in ((4, 4), (3, 5, 1), (3, 5, 3))),
    *(("AttentionBlock", (channels,), {}, channels) for channels in (2, 5, 8)),
    ("conv1x1", (3, 4, 2), {}, 3),
    ("conv3x3", (3, 4), {"stride": 2}, 3),
    ("subpel_conv3x3", (3, 4, 3), {}, 3),
    ("subpel_conv3x3", (3, 4), {}, 3),
    ("sequential_channel_ramp", (9, 2), {"make_layer": layers.conv3x3, "make_act": nn.ReLU, "min_ch": 5}, 9),
    ("sequential_channel_ramp", (3, 11), {"make_layer": layers.conv1x1, "make_act": nn.ReLU, "interp": "log"}, 3),
    ("Interleave", (3,), {}, 6),
    ("Gain", ((5, 1, 1),), {"factor": 3.0}, 5),
    ("Transpose", (1, 2), {}, 5),
    ("Lambda", (torch.sin,), {}, 2),
    ("NamedLayer", ("place",), {}, 2),
]


def close(ours: Tensor, other: Tensor, share: float) -> None:
    """Equal within that share of the largest value, and of each value where it counts."""
    assert ours.shape == other.shape
    assert ours.dtype == other.dtype
    scale = float(other.detach().abs().max()) if other.numel() else 0.0
    torch.testing.assert_close(ours, other, rtol=share, atol=share * scale)


def pair_of(name: str, args: tuple[Any, ...], options: dict[str, Any], seed: int = 0) -> tuple[nn.Module, nn.Module]:
    """One layer of each, with the same weights."""
    torch.manual_seed(seed)
    ours, other = getattr(layers, name)(*args, **options), getattr(theirs, name)(*args, **options)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    other.load_state_dict(ours.state_dict(), strict=True)
    return ours, other


def check_pair(ours: Callable[..., Tensor], other: Callable[..., Tensor], *inputs: Tensor) -> None:
    """The same value, and the same gradients of the inputs."""
    one, two = ([x.clone().requires_grad_() for x in inputs] for _ in range(2))
    made, expected = ours(*one), other(*two)
    close(made, expected, 1e-5)
    direction = torch.randn(made.shape)
    made.backward(direction)
    expected.backward(direction)
    for x, y in zip(one, two, strict=True):
        assert x.grad is not None
        assert y.grad is not None
        close(x.grad, y.grad, 1e-4)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("name", "args", "options", "channels"), LAYERS)
def test_layers_give_the_same_values_and_gradients(
    name: str, args: tuple[Any, ...], options: dict[str, Any], channels: int, size: tuple[int, int]
) -> None:
    ours, other = pair_of(name, args, options, seed=sum(size))
    assert list(ours.state_dict()) == list(other.state_dict()) or set(ours.state_dict()) == set(other.state_dict())
    check_pair(ours, other, torch.randn(2, channels, *size))
    masks = dict(ours.named_buffers())
    for (key, mine), (_, their) in zip(sorted(ours.named_parameters()), sorted(other.named_parameters()), strict=True):
        assert mine.grad is not None
        assert their.grad is not None
        # The peer's masked taps get gradients, which its next forward throws away.
        seen = masks["mask"] if key == "weight" and "mask" in masks else 1
        close(torch.view_as_real(mine.grad) if mine.is_complex() else mine.grad,
              torch.view_as_real(their.grad) if mine.is_complex() else their.grad * seen, 1e-4)  # fmt: skip


def test_reshape_is_the_same() -> None:
    x = torch.randn(2, 12)
    assert torch.equal(layers.Reshape((3, 4))(x), theirs.Reshape((3, 4))(x))


@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize("beta", [2, 100])
def test_qrelu_is_the_same(bits: int, beta: int) -> None:
    x = torch.randn(200, generator=torch.Generator().manual_seed(bits)) * 2**bits
    check_pair(lambda x: layers.QReLU.apply(x, bits, beta), lambda x: theirs.QReLU.apply(x, bits, beta), x)


@pytest.mark.parametrize("method", ["linear", "log"])
def test_ramps_are_the_same(method: str) -> None:
    their_ramp = peer("layers.layers").ramp
    random = np.random.default_rng(0)
    for a, b, steps in random.integers(1, 700, (200, 3)).tolist():
        assert torch.equal(ramp(a, b, steps % 9 + 2, method), their_ramp(a, b, steps % 9 + 2, method))


@pytest.mark.parametrize("interp", ["linear", "log"])
def test_channel_ramps_have_the_same_widths(interp: str) -> None:
    random, made = np.random.default_rng(0), []

    def layer(wide: int, narrow: int) -> nn.Module:
        made.append((wide, narrow))
        return nn.Identity()

    for a, b, count, least in random.integers(1, 700, (500, 4)).tolist():
        for module in (layers, theirs):
            module.sequential_channel_ramp(
                a, b, min_ch=least // 2, num_layers=count % 9 + 1, make_layer=layer, make_act=nn.Identity, interp=interp
            )
        half = len(made) // 2
        # The peer rounds the ends too, so that by "log" a layer may not fit what comes in.
        inner, expected = ([wide for wide, _ in part[1:]] for part in (made[:half], made[half:]))
        assert inner == expected
        assert (made[0][0], made[half - 1][1]) == (a, b)
        made.clear()


@pytest.mark.parametrize("bound", [-1.0, 0.11, 1e-9])
def test_bounds_are_the_same(bound: float) -> None:
    x = torch.randn(300, generator=torch.Generator().manual_seed(0))
    check_pair(ops.LowerBound(bound), peer("ops").LowerBound(bound), x)
    assert ops.LowerBound(bound).state_dict().keys() == peer("ops").LowerBound(bound).state_dict().keys()


@pytest.mark.parametrize("minimum", [0, 1e-6, 0.5])
def test_parametrizers_are_the_same(minimum: float) -> None:
    ours, other = ops.NonNegativeParametrizer(minimum), peer("ops").NonNegativeParametrizer(minimum)
    x = torch.randn(300, generator=torch.Generator().manual_seed(0))
    check_pair(ours, other, x)
    close(ours.init(x.abs()), other.init(x.abs()), 1e-6)
    other.load_state_dict(ours.state_dict(), strict=True)


def test_rounding_is_the_same() -> None:
    x = torch.cat([torch.randn(300) * 5, torch.arange(-5, 5) + 0.5])
    check_pair(ops.quantize_ste, peer("ops").quantize_ste, x)


def test_padding_is_the_same_or_refused_alike() -> None:
    random, their_ops = np.random.default_rng(0), peer("ops")
    for in_h, in_w, out_h, out_w, power in random.integers(1, 90, (2000, 5)).tolist():
        options: dict[str, Any] = {"min_div": 2 ** (power % 4)}
        options |= {"out_h": out_h} if power % 3 else {}
        options |= {"out_w": out_w} if power % 5 else {}
        try:
            made = ops.compute_padding(in_h, in_w, **options)
        except InputError:
            # The peer takes smaller targets, and "undoes" the cut by rows of zeros.
            if options.get("out_h", in_h) >= in_h and options.get("out_w", in_w) >= in_w:
                with pytest.raises(ValueError, match="out"):
                    their_ops.compute_padding(in_h, in_w, **options)
        else:
            assert made == their_ops.compute_padding(in_h, in_w, **options)


@pytest.mark.parametrize("name", ["RGB2YCbCr", "YCbCr2RGB"])
@pytest.mark.parametrize("shape", [(3, 1, 1), (2, 3, 5, 7), (1, 3, 16, 9)])
def test_colours_are_the_same(name: str, shape: tuple[int, ...]) -> None:
    check_pair(getattr(transforms, name)(), getattr(peer("transforms"), name)(), torch.rand(shape))


@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "nearest"])
def test_chroma_is_the_same_at_even_sizes(mode: str) -> None:
    functional = peer("transforms.functional")
    x = torch.rand(2, 3, 6, 10)
    for plane in range(3):
        check_pair(lambda x, p=plane: transforms.yuv_444_to_420(x)[p], lambda x, p=plane: functional.yuv_444_to_420(x)[p], x)  # type: ignore[misc]  # noqa: E501  # fmt: skip
    planes = functional.yuv_444_to_420(x)
    check_pair(
        lambda *planes: transforms.yuv_420_to_444(planes, mode),  # type: ignore[arg-type, return-value]
        lambda *planes: functional.yuv_420_to_444(planes, mode),
        *planes,
    )


@pytest.mark.parametrize("metric", ["mse", "ms-ssim"])
def test_the_loss_is_the_same(metric: str) -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.nn.functional.interpolate(
        torch.rand(2, 3, 12, 14, generator=generator), size=(176, 201), mode="bicubic"
    )
    x_hat = target + 0.05 * torch.randn(target.shape, generator=generator)
    rates = [torch.rand(2, 4, 11, 13, generator=generator).clamp_min(1e-9), torch.rand(2, 5, 3, 4, generator=generator)]

    def loss(module: Any, x_hat: Tensor, y: Tensor, z: Tensor) -> Tensor:
        made: Tensor = module(0.02 if metric == "mse" else 8.0, metric=metric, return_type="loss")(
            {"x_hat": x_hat, "likelihoods": {"y": y, "z": z}}, target
        )
        return made

    their_loss = peer("losses").RateDistortionLoss
    pair = [lambda *inputs, kind=kind: loss(kind, *inputs) for kind in (RateDistortionLoss, their_loss)]
    check_pair(*pair, x_hat, *rates)
    output = {"x_hat": x_hat, "likelihoods": {"y": rates[0], "z": rates[1]}}
    ours, other = RateDistortionLoss(metric=metric)(output, target), their_loss(metric=metric)(output, target)
    assert ours.keys() == other.keys()
    for key, value in ours.items():
        close(value, other[key], 1e-5)


def test_an_unknown_metric_is_refused_alike() -> None:
    for loss in (RateDistortionLoss, peer("losses").RateDistortionLoss):
        with pytest.raises(NotImplementedError):
            loss(metric="psnr")


def test_optimizers_hold_the_same_parameters() -> None:
    net = peer("models").ScaleHyperprior(4, 6)
    conf = {"net": {"type": "Adam", "lr": 1e-4}, "aux": {"type": "SGD", "lr": 1e-3}}
    ours, other = optimizers.net_aux_optimizer(net, conf), peer("optimizers").net_aux_optimizer(net, conf)
    assert ours.keys() == other.keys()
    for key, optimizer in ours.items():
        assert type(optimizer) is type(other[key])
        assert optimizer.defaults == other[key].defaults
        held = [[id(p) for group in each.param_groups for p in group["params"]] for each in (optimizer, other[key])]
        assert held[0] == held[1]


def test_folders_give_the_same_pictures(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    (tmp_path / "train").mkdir()
    for index, mode in enumerate(["RGB", "L", "RGBA", "P"]):
        pixels = random.integers(0, 256, (5 + index, 7, 3), dtype=np.uint8)
        Image.fromarray(pixels).convert(mode).save(tmp_path / "train" / f"{index}.png")
    ours, other = (module.ImageFolder(tmp_path, np.array) for module in (datasets, peer("datasets")))
    assert len(ours) == len(other)
    assert all(np.array_equal(ours[index], other[index]) for index in range(len(ours)))
    for module in (datasets, peer("datasets")):
        with pytest.raises(RuntimeError):
            module.ImageFolder(tmp_path, split="valid")
