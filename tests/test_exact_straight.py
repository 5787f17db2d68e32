"""Laws of training with rounding in place: forward is the exact form's, gradients the float layer's, rates fall."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from test_exact import KINDS, inputs
from torch import Tensor, nn

import tinify
from tinify.errors import DivergedError, InputError
from tinify.exact import ExactGain, ExactLayer, Straight, exact_layers, fine_tune, settle, straight_through, watched
from tinify.exact.choose import Seen, exact_layer
from tinify.exact.layers import arranged, parameters_of
from tinify.latent_codecs import LatentCodec
from tinify.layers import GainUnit


def made_straight(net: nn.Module, x: Tensor) -> nn.ModuleDict:
    """A network at the path ``net``, with rounding in place by what came in with ``x``."""
    model = nn.ModuleDict({"net": net}).eval()
    with watched(model, ["net"]) as seen, torch.no_grad():
        model["net"](x)
    straight_through(model, ["net"], seen)
    return model


@pytest.mark.parametrize("kind", KINDS)
def test_weights_come_back_from_where_they_are_in_the_exact_form(kind: str) -> None:
    layer, seen = KINDS[kind](), Seen()
    seen.add(inputs(layer, 2, 7, 6, 0))
    made = exact_layer(layer, seen)
    weight = parameters_of(layer, made)["weight"]
    assert weight.shape == layer.weight.shape
    assert torch.equal(arranged(layer, weight.double(), made.geometry), made.values()[0])
    assert not bool((weight * (1 - getattr(layer, "mask", torch.ones(())))).any())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("slope", [1.0, 0.25])
def test_a_straight_layer_computes_what_the_exact_one_does(kind: str, slope: float) -> None:
    layer = KINDS[kind]()
    x = inputs(layer, 2, 7, 6, 0)
    model = made_straight(nn.Sequential(nn.LeakyReLU(slope), layer), x)
    found = model["net"](2 * x)
    found.square().sum().backward()
    assert layer.weight.grad is not None
    assert bool(layer.weight.grad.abs().sum() > 0)
    settle(model)
    wanted = model["net"](2 * x)
    assert isinstance(model["net"][1], ExactLayer)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=float(wanted.abs().max()) * 1e-6)


def test_the_gradient_of_an_input_is_the_float_one_within_the_limits_and_zero_beyond() -> None:
    layer, x = nn.Conv2d(3, 4, 1), torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    model = made_straight(nn.Sequential(nn.LeakyReLU(0.5), layer), x)
    x[0, 0, 0, 0] = 100.0
    x[0, 1, 1, 1] = -100.0
    given, plain = x.clone().requires_grad_(), x.clone().requires_grad_()
    model["net"](given).sum().backward()
    layer(nn.functional.leaky_relu(plain, 0.5)).sum().backward()
    assert given.grad is not None
    assert plain.grad is not None
    beyond = x.abs() == 100
    assert not given.grad[beyond].any()
    torch.testing.assert_close(given.grad[~beyond], plain.grad[~beyond], rtol=0.05, atol=0.01)


def test_grids_follow_the_weights() -> None:
    layer = nn.Conv2d(3, 4, 1)
    x = inputs(layer, 2, 5, 5, 0)
    model = made_straight(layer, x)
    assert model["net"].layer is layer
    before = model["net"](x)
    with torch.no_grad():
        layer.weight.mul_(8)
        assert layer.bias is not None
        layer.bias.mul_(8)
    torch.testing.assert_close(model["net"](x), 8 * before, rtol=0.01, atol=0.01)
    copied = copy.deepcopy(model)
    assert torch.equal(copied["net"](x), model["net"](x))
    assert copied["net"].layer is not layer


def test_activations_and_gains_have_their_exact_forms() -> None:
    x = inputs(nn.Conv2d(3, 3, 1), 2, 4, 4, 0)
    model = made_straight(nn.Sequential(GainUnit(3), nn.LeakyReLU(0.25)), x)
    assert isinstance(model["net"][0], ExactGain)
    assert isinstance(model["net"][1], Straight)
    found = model["net"](x)
    settle(model)
    torch.testing.assert_close(model["net"](x), found)


def index_path(model: nn.Module) -> list[str]:
    """Paths of the parts that choose coding tables."""
    named = [(path, part) for path, part in model.named_modules() if isinstance(part, LatentCodec)]
    found = [f"{path}.{name}" for path, part in named for name in part.decides]
    return [path for path in found if isinstance(submodule(model, path), nn.Module)]


def submodule(model: nn.Module, path: str) -> Any:
    parent, _, name = path.rpartition(".")
    return getattr(model.get_submodule(parent), name, None)


MODELS: dict[str, Callable[[], Any]] = {
    "mean": lambda: tinify.create_model("mbt2018-mean", N=8, M=12),
    "checkerboard": lambda: tinify.create_model("cheng2020-anchor-checkerboard", N=8),
    "variable rate": lambda: tinify.create_model("tinify-photo", N=8, M=16),
}


def rate(model: Any, x: Tensor) -> float:
    with torch.no_grad():
        return float(sum(-torch.log2(one).sum() for one in model(x)["likelihoods"].values()))


@pytest.mark.parametrize("name", MODELS)
def test_the_rate_falls_and_is_that_of_the_exact_model(name: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = MODELS[name]().eval()
    model.g_a.register_forward_hook(lambda module, given, y: 30 * y)  # so that there is something to code
    x = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    pictures, paths = [x, x[:, :, :200, :90]], index_path(model)
    with watched(model, paths) as seen, torch.no_grad():
        model(x)
    straight_through(model, paths, seen)
    kept = {key: value.clone() for key, value in model.state_dict().items()}
    needed = {key: parameter.requires_grad for key, parameter in model.named_parameters()}
    before, bits = rate(model, x), []
    fine_tune(model, paths, pictures, 12, 3e-3, lambda step, now: bits.append(now))
    after = rate(model, x)
    assert len(bits) == 12
    assert after < before
    assert {key: parameter.requires_grad for key, parameter in model.named_parameters()} == needed
    moved = {key for key, value in model.state_dict().items() if not torch.equal(value, kept[key])}
    assert moved
    assert all(any(key.startswith(path) for path in paths) for key in moved)
    settle(model)
    assert not [part for part in model.modules() if isinstance(part, Straight)]
    assert len(list(exact_layers(model))) > 1
    assert rate(model, x) == pytest.approx(after, rel=1e-3)


def test_what_cannot_be_tuned_is_said() -> None:
    model = MODELS["mean"]()
    with pytest.raises(InputError, match="fine-tuning needs pictures, and layers"):
        fine_tune(model, index_path(model), [torch.zeros(1, 3, 64, 64)], 1)
    x = torch.rand(1, 3, 64, 64)
    with watched(model, index_path(model)) as seen, torch.no_grad():
        model(x)
    straight_through(model, index_path(model), seen)
    with pytest.raises(InputError, match="fine-tuning needs pictures, and layers"):
        fine_tune(model, index_path(model), [], 1)
    with pytest.raises(DivergedError, match="nan bits per pixel at step 0"):
        fine_tune(model, index_path(model), [torch.full_like(x, torch.nan)], 1)
