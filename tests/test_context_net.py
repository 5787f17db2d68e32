"""The compiled network of a context model: near the plain modules, and the same bits whatever is computed together."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tinify.errors import InputError
from tinify.latent_codecs.context_net import ContextNet, ContextScan
from tinify.layers import CheckerboardMaskedConv2d, MaskedConv2d

SIZES = st.integers(1, 9)


def context(channels: int, outputs: int, kernel: int, bias: bool = True) -> MaskedConv2d:
    return MaskedConv2d(channels, outputs, kernel, padding=kernel // 2, bias=bias)


def mixer(*channels: int, slope: float = 0.01, bias: bool = True) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(channels):
        layers += [nn.Conv2d(inputs, outputs, 1, bias=bias), nn.LeakyReLU(slope) if slope else nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def plain(layers: tuple[nn.Conv2d, nn.Module], side: Tensor, y_hat: Tensor) -> Tensor:
    conv, rest = layers
    with torch.no_grad():
        seen = nn.functional.conv2d(y_hat, conv.weight * conv.mask, conv.bias, padding=conv.padding)
        return rest(torch.cat([side, seen], 1))


def wavefronts(height: int, width: int, slope: int) -> Iterator[tuple[Tensor, Tensor]]:
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    steps = columns + slope * rows
    for step in range(width + slope * height):
        at = torch.nonzero(steps == step)
        if len(at):
            yield at[:, 0], at[:, 1]


def raster(height: int, width: int) -> Iterator[tuple[Tensor, Tensor]]:
    for place in range(height * width):
        yield torch.tensor([place // width]), torch.tensor([place % width])


def scanned(net: ContextNet, side: Tensor, y_hat: Tensor, order: Iterator[tuple[Tensor, Tensor]]) -> Tensor:
    """The parameters of all positions, asked for in that order."""
    scan = net.start(side)
    params = torch.full((len(side), net.outputs, *side.shape[2:]), torch.nan)
    for rows, columns in order:
        found = scan.params(rows, columns).unflatten(0, (len(side), len(rows)))
        params[:, :, rows, columns] = found.transpose(1, 2)
        scan.put(rows, columns, y_hat[:, :, rows, columns].transpose(1, 2).flatten(0, 1))
    assert torch.equal(scan.result(), y_hat)
    return params


@st.composite
def nets(draw: st.DrawFn) -> tuple[nn.Conv2d, nn.Sequential, Tensor, Tensor]:
    torch.manual_seed(draw(st.integers(0, 999)))
    bias, slope = draw(st.booleans()), draw(st.sampled_from([0.0, 0.01, 0.3]))
    channels, side, seen = draw(st.integers(1, 40)), draw(st.integers(0, 70)), draw(st.integers(1, 80))
    widths = draw(st.lists(st.integers(1, 140), min_size=1, max_size=3))
    layers = (
        context(channels, seen, draw(st.sampled_from([1, 3, 5, 7])), bias),
        mixer(side + seen, *widths, slope=slope),
    )
    shape = draw(st.integers(1, 3)), draw(SIZES), draw(SIZES)
    return *layers, torch.randn(shape[0], side, *shape[1:]), torch.randn(shape[0], channels, *shape[1:]).mul(4).round()


@settings(deadline=None, max_examples=40)
@given(nets())
def test_is_near_the_plain_modules(case: tuple[nn.Conv2d, nn.Sequential, Tensor, Tensor]) -> None:
    conv, rest, side, y_hat = case
    net = ContextNet.of(conv, rest)
    assert net is not None
    found = scanned(net, side, y_hat, wavefronts(*side.shape[2:], conv.kernel_size[0] // 2 + 1))
    expected = plain((conv, rest), side, y_hat)
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max() + 1e-7


@settings(deadline=None, max_examples=25)
@given(nets(), st.data())
def test_same_bits_in_any_order_and_company(
    case: tuple[nn.Conv2d, nn.Sequential, Tensor, Tensor], data: st.DataObject
) -> None:
    conv, rest, side, y_hat = case
    net = ContextNet.of(conv, rest)
    assert net is not None
    height, width = side.shape[2:]
    expected = scanned(net, side, y_hat, raster(height, width))
    slope = conv.kernel_size[0] // 2 + 1
    for steeper in (slope, slope + data.draw(st.integers(1, 5))):
        assert torch.equal(scanned(net, side, y_hat, wavefronts(height, width, steeper)), expected)
    item = data.draw(st.integers(0, len(side) - 1))
    alone = scanned(net, side[item : item + 1], y_hat[item : item + 1], raster(height, width))
    assert torch.equal(alone, expected[item : item + 1])


BITS = """
import sys, torch
sys.path.insert(0, sys.argv[1])
from small_exact import exact_raster
from test_context_net import ContextNet, context, mixer, scanned, wavefronts
torch.manual_seed(5)
numbers = lambda *shape: torch.randint(-9999, 9999, shape) / 7777
conv, rest = context(20, 35, 5), mixer(35 + 18, 70, 33)
for tensor in (*conv.parameters(), *rest.parameters()):
    tensor.data = numbers(*tensor.shape)
net = ContextNet.of(conv, rest)
found = scanned(net, numbers(1, 18, 5, 9), numbers(1, 20, 5, 9), wavefronts(5, 9, 3))
print(found.numpy().tobytes().hex())
exact = exact_raster(20, 18, 5, (70, 33))
y_hat, side = 9 * numbers(1, 20, 5, 9), numbers(1, 18, 5, 9)
found = scanned(ContextNet.of(exact.context_prediction, exact.entropy_parameters), side, y_hat, wavefronts(5, 9, 3))
assert torch.equal(found, exact.entropy_parameters(torch.cat([side, exact.context_prediction(y_hat)], 1)))
"""


def test_same_bits_on_every_processor() -> None:
    def bits(processor: dict[str, str]) -> str:
        command = [sys.executable, "-c", BITS, os.path.dirname(__file__)]
        done = subprocess.run(command, env=os.environ | processor, capture_output=True, text=True, check=True)
        return done.stdout

    expected = bits({})
    assert len(expected) > 2 * 4 * 33 * 45
    for name, has in (("haswell", ""), ("x86-64", "+sse2,-avx")):
        assert bits({"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": has}) == expected


def test_sees_weights_changed_in_place() -> None:
    conv, rest = context(3, 6, 3), mixer(10, 5)
    side, y_hat = torch.randn(1, 4, 3, 4), torch.randn(1, 3, 3, 4)
    for change in (conv.weight, conv.bias, rest[0].weight, rest[0].bias, conv.mask):
        with torch.no_grad():
            change *= 0.5
        net = ContextNet.of(conv, rest)
        assert net is not None
        found = scanned(net, side, y_hat, raster(3, 4))
        assert torch.allclose(found, plain((conv, rest), side, y_hat), rtol=1e-5, atol=1e-6)


def test_weights_that_are_no_number_pass_through() -> None:
    conv, rest = context(3, 6, 3), mixer(10, 8, 5)
    with torch.no_grad():
        rest[0].weight[2, 7] = torch.nan
    net = ContextNet.of(conv, rest)
    assert net is not None
    assert scanned(net, torch.randn(1, 4, 3, 4), torch.randn(1, 3, 3, 4), raster(3, 4)).isnan().all()


@pytest.mark.parametrize("shape", [(0, 4, 3, 4), (1, 4, 0, 4), (2, 4, 3, 0)])
def test_a_latent_of_no_size(shape: tuple[int, ...]) -> None:
    net = ContextNet.of(context(3, 6, 3), mixer(10, 5))
    assert net is not None
    assert net.start(torch.zeros(shape)).result().shape == (shape[0], 3, *shape[2:])


def scan() -> ContextScan:
    net = ContextNet.of(context(3, 6, 3), mixer(10, 5))
    assert net is not None
    return net.start(torch.zeros(2, 4, 3, 7))


def test_no_positions_have_no_parameters() -> None:
    none = torch.arange(0)
    assert scan().params(none, none).shape == (0, 5)
    scan().put(none, none, torch.zeros(0, 3))


@pytest.mark.parametrize(("row", "column"), [(3, 0), (0, 7), (-1, 0), (0, -1)])
def test_positions_outside_are_refused(row: int, column: int) -> None:
    with pytest.raises(InputError, match="within 3 rows and 7 columns"):
        scan().params(torch.tensor([row]), torch.tensor([column]))
    with pytest.raises(InputError, match="as many rows as columns"):
        scan().put(torch.tensor([row]), torch.tensor([column]), torch.zeros(2, 3))


def test_values_and_side_information_of_another_shape_are_refused() -> None:
    one = torch.tensor([1])
    with pytest.raises(InputError, match=r"decoded values of shape \(2, 4\): expected \(2, 3\)"):
        scan().put(one, one, torch.zeros(2, 4))
    with pytest.raises(InputError, match="as many rows as columns"):
        scan().params(one, torch.tensor([1, 2]))
    net = ContextNet.of(context(3, 6, 3), mixer(10, 5))
    assert net is not None
    with pytest.raises(InputError, match=r"side information of shape \(2, 5, 3, 7\): expected \(batch, 4"):
        net.start(torch.zeros(2, 5, 3, 7))
    with pytest.raises(InputError, match=r"side information is torch\.float64 on cpu: expected float32"):
        net.start(torch.zeros(2, 4, 3, 7, dtype=torch.float64))


class Twice(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


OTHERS = {
    "no mask": (nn.Conv2d(3, 6, 3, padding=1), mixer(10, 5)),
    "type B": (MaskedConv2d(3, 6, 3, padding=1, mask_type="B"), mixer(10, 5)),
    "checkerboard": (CheckerboardMaskedConv2d(3, 6, 3, padding=1), mixer(10, 5)),
    "stride": (MaskedConv2d(3, 6, 3, padding=1, stride=2), mixer(10, 5)),
    "padding": (MaskedConv2d(3, 6, 3, padding=0), mixer(10, 5)),
    "groups": (MaskedConv2d(3, 6, 3, padding=1, groups=3), mixer(10, 5)),
    "dilation": (MaskedConv2d(3, 6, 3, padding=1, dilation=2), mixer(10, 5)),
    "reflection": (MaskedConv2d(3, 6, 3, padding=1, padding_mode="reflect"), mixer(10, 5)),
    "no layers": (context(3, 6, 3), nn.Sequential()),
    "another activation": (context(3, 6, 3), nn.Sequential(nn.Conv2d(10, 5, 1), nn.GELU())),
    "activation first": (context(3, 6, 3), nn.Sequential(nn.ReLU(), nn.Conv2d(10, 5, 1))),
    "3x3": (context(3, 6, 3), nn.Conv2d(10, 5, 3, padding=1)),
    "grouped 1x1": (context(3, 6, 3), nn.Conv2d(10, 6, 1, groups=2)),
    "a forward of its own": (context(3, 6, 3), Twice(10, 5, 1)),
    "too few inputs": (context(3, 6, 3), mixer(5, 5)),
    "layers that do not fit": (context(3, 6, 3), nn.Sequential(nn.Conv2d(10, 5, 1), nn.Conv2d(6, 5, 1))),
    "float64": (context(3, 6, 3).double(), mixer(10, 5).double()),
    "bfloat16": (context(3, 6, 3), mixer(10, 5).bfloat16()),
    "float16": (context(3, 6, 3).half(), mixer(10, 5)),
    "another device": (context(3, 6, 3).to("meta"), mixer(10, 5).to("meta")),
}


@pytest.mark.parametrize("layers", OTHERS.values(), ids=OTHERS)
def test_other_modules_are_left_alone(layers: tuple[nn.Module, nn.Module]) -> None:
    assert ContextNet.of(*layers) is None


def test_several_activations_and_identities_between_layers() -> None:
    conv = context(3, 6, 3)
    rest = nn.Sequential(nn.Sequential(nn.Conv2d(10, 9, 1), nn.Identity()), nn.Conv2d(9, 5, 1), nn.ReLU())
    net = ContextNet.of(conv, rest)
    assert net is not None
    side, y_hat = torch.randn(1, 4, 3, 4), torch.randn(1, 3, 3, 4)
    found = scanned(net, side, y_hat, raster(3, 4))
    assert torch.allclose(found, plain((conv, rest), side, y_hat), rtol=1e-5, atol=1e-6)


def test_without_numba_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = context(3, 6, 3), mixer(10, 5)
    with monkeypatch.context() as patch:
        patch.setattr("numba.config.DISABLE_JIT", 1)
        assert ContextNet.of(*layers) is None
    monkeypatch.setitem(sys.modules, "numba.core", None)
    assert ContextNet.of(*layers) is None
