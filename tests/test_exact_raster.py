"""Exact context models: one latent's parameters, whatever computes them, and however far its symbols reach."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_exact import exact_raster, make_exact
from torch import Tensor, nn

from tinify import create_model
from tinify.coders.compat import CompatCoder
from tinify.exact import CARRIERS, Entry, ExactActivation, ExactLayer, exact_layers, shell, use_carrier
from tinify.exact.convert import Change
from tinify.latent_codecs import RasterScanLatentCodec
from tinify.latent_codecs.context_layers import is_causal
from tinify.latent_codecs.context_net import ContextNet
from tinify.latent_codecs.context_plain import PlainContext
from tinify.latent_codecs.raster_scan import Step, raster_order, wavefronts
from tinify.layers import CheckerboardMaskedConv2d, MaskedConv2d
from tinify.models import CompressionModel

HOSTILE = torch.tensor([0.0, -0.0, 0.5, -0.5, 1.5, 2.5, 1e-30, 4097.0, -33000.5, 1e9, -1e9, 3e38, -3e38])


@st.composite
def codecs(draw: st.DrawFn) -> RasterScanLatentCodec:
    torch.manual_seed(draw(st.integers(0, 999)))
    between = tuple(draw(st.lists(st.integers(1, 70), max_size=2)))
    kernel, slope = draw(st.sampled_from([3, 5, 7])), draw(st.sampled_from([0.0, 0.01, 0.3]))
    return exact_raster(draw(st.integers(1, 20)), draw(st.integers(1, 30)), kernel, between, slope)


@st.composite
def latents(draw: st.DrawFn, codec: RasterScanLatentCodec) -> tuple[Tensor, Tensor]:
    """A latent and its side information, some of it far from all that was calibrated."""
    shape = draw(st.integers(1, 3)), draw(st.integers(1, 7)), draw(st.integers(1, 7))
    wide = shape[0], codec.entropy_parameters[0].in_channels - 2 * codec.context_prediction.in_channels, *shape[1:]
    found = []
    for size in ((shape[0], codec.context_prediction.in_channels, *shape[1:]), wide):
        ordinary = 4 * torch.randn(size)
        strange = HOSTILE[torch.randint(len(HOSTILE), size)]
        found.append(torch.where(torch.rand(size) < draw(st.sampled_from([0, 0.1, 1])), strange, ordinary))
    return found[0], found[1]


def scanned(context: ContextNet | PlainContext, side: Tensor, y_hat: Tensor, steps: Iterable[Step]) -> Tensor:
    """The parameters of all positions, asked for in that order."""
    scan, found = context.start(side), {}
    for rows, columns in steps:
        params = scan.params(rows, columns).unflatten(0, (len(side), -1))
        for place, pair in enumerate(zip(rows.tolist(), columns.tolist(), strict=True)):
            found[pair] = params[:, place]
        scan.put(rows, columns, y_hat[:, :, rows, columns].transpose(1, 2).flatten(0, 1))
    assert torch.equal(scan.result(), y_hat)
    return torch.stack([found[pair] for pair in sorted(found)], 2).unflatten(2, side.shape[2:])


@given(st.data())
def test_one_latent_has_one_set_of_parameters(data: st.DataObject) -> None:
    codec = data.draw(codecs())
    y_hat, side = data.draw(latents(codec))
    before = side.clone()
    modules = codec.context_prediction, codec.entropy_parameters
    compiled = ContextNet.of(*modules)
    assert compiled is not None
    steps = wavefronts(*side.shape[2:], codec.context_prediction.kernel_size[0] // 2 + 1)
    wanted = codec.entropy_parameters(torch.cat([side, codec.context_prediction(y_hat)], 1))
    assert torch.equal(scanned(compiled, side, y_hat, steps), wanted)
    assert torch.equal(scanned(compiled, side.contiguous(memory_format=torch.channels_last), y_hat, steps), wanted)
    assert torch.equal(scanned(compiled, side, y_hat, raster_order(*side.shape[2:])), wanted)
    for carrier in CARRIERS:
        use_carrier(codec, carrier)
        assert torch.equal(scanned(PlainContext(*modules), side, y_hat, steps), wanted)
    assert torch.equal(scanned(PlainContext(*modules, one_by_one=True), side, y_hat, steps), wanted)
    assert torch.equal(side, before)


@given(st.data())
def test_what_is_coded_is_decoded_by_any_path(data: st.DataObject) -> None:
    codec = data.draw(codecs())
    y, side = data.draw(latents(codec))
    y = y.clamp(-1e6, 1e6)
    one = codec.compress(y, side)
    assert torch.equal(codec.decompress(one["strings"], one["shape"], side)["y_hat"], one["y_hat"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ContextNet, "of", lambda *modules: None)
        for carrier in CARRIERS:
            use_carrier(codec, carrier)
            other = codec.compress(y, side)
            assert other["strings"] == one["strings"]
            assert torch.equal(other["y_hat"], one["y_hat"])
    codec.gaussian_conditional.coder = CompatCoder()  # position by position
    other = codec.compress(y, side)
    assert torch.equal(other["y_hat"], one["y_hat"])
    assert torch.equal(codec.decompress(other["strings"], other["shape"], side)["y_hat"], one["y_hat"])


@settings(max_examples=100)
@given(st.data())
def test_the_compiled_entry_is_the_entry(data: st.DataObject) -> None:
    from tinify.latent_codecs import context_kernels

    channels, rows = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 4))

    def each(low: int, high: int) -> list[int]:
        return data.draw(st.lists(st.integers(low, high), min_size=channels, max_size=channels))

    entry = Entry(channels)
    entry.set(each(-12, 24), each(-(2**24) + 1, 0), each(0, 2**15), data.draw(st.integers(0, 256)))
    strange = torch.cat([HOSTILE, torch.tensor([torch.nan, torch.inf, -torch.inf])])
    x = torch.where(torch.rand(rows, channels) < 0.5, strange[torch.randint(len(strange), (rows, channels))], 9.0)
    x *= torch.randn(rows, channels)
    *table, slope = entry.floats()
    entries = torch.stack([*table, torch.full((channels,), slope)]).numpy()
    found = x.clone()
    context_kernels.enter(found.numpy().reshape(-1), np.arange(rows) * channels, entries, 0, channels)
    torch.testing.assert_close(found, entry(x), rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(found, entry.part(0, channels)(x), rtol=0, atol=0, equal_nan=True)


@pytest.fixture(scope="module")
def model() -> CompressionModel:
    torch.manual_seed(1)
    model = create_model("mbt2018", N=8, M=12).eval()
    with torch.no_grad():
        for tensor in model.g_a[-1].parameters():
            tensor *= 100  # or all symbols were zero
    make_exact(model, lambda: model(torch.rand(2, 3, 128, 192)))
    model.update()
    return model


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("compiled", [True, False])
def test_a_model_has_one_string_for_a_picture(
    model: CompressionModel, carrier: str, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = torch.rand(2, 3, 192, 128, generator=torch.Generator().manual_seed(2))
    use_carrier(model, CARRIERS[0])
    wanted = model.compress(picture)
    assert len(list(exact_layers(model))) == 4 + 3
    assert len(wanted["strings"][0][0]) > 20
    shown = model.decompress(wanted["strings"], wanted["shape"])["x_hat"]
    use_carrier(model, carrier)
    if not compiled:
        monkeypatch.setattr(ContextNet, "of", lambda *modules: None)
    assert model.compress(picture)["strings"] == wanted["strings"]
    assert torch.equal(model.decompress(wanted["strings"], wanted["shape"])["x_hat"], shown)


def test_other_integers_are_seen() -> None:
    codec, side, y_hat = exact_raster(), torch.randn(1, 4, 3, 5), torch.randn(1, 8, 3, 5)
    modules, steps = (codec.context_prediction, codec.entropy_parameters), wavefronts(3, 5, 2)
    for layer in codec.context_prediction, codec.entropy_parameters[0]:
        before = ContextNet.of(*modules)
        layer.entry.set(layer.entry.exponent - 2, layer.entry.low, layer.entry.high)
        after = ContextNet.of(*modules)
        assert after is not None
        assert after is not before
        assert torch.equal(scanned(after, side, y_hat, steps), scanned(PlainContext(*modules), side, y_hat, steps))


def exact(layer: nn.Module) -> nn.Module:
    return shell(Change("", layer))


OTHERS = {
    "type B": (exact(MaskedConv2d(3, 6, 3, padding=1, mask_type="B")), exact(nn.Conv2d(10, 5, 1))),
    "checkerboard": (exact(CheckerboardMaskedConv2d(3, 6, 3, padding=1)), exact(nn.Conv2d(10, 5, 1))),
    "no mask": (exact(nn.Conv2d(3, 6, 3, padding=1)), exact(nn.Conv2d(10, 5, 1))),
    "stride": (exact(MaskedConv2d(3, 6, 3, padding=1, stride=2)), exact(nn.Conv2d(10, 5, 1))),
    "padding": (exact(MaskedConv2d(3, 6, 3, padding=0)), exact(nn.Conv2d(10, 5, 1))),
    "3x3": (exact(MaskedConv2d(3, 6, 3, padding=1)), exact(nn.Conv2d(10, 5, 3, padding=1))),
    "each channel": (exact(MaskedConv2d(3, 6, 3, padding=1)), exact(nn.Conv2d(10, 10, 1, groups=10))),
    "too few inputs": (exact(MaskedConv2d(3, 6, 3, padding=1)), exact(nn.Conv2d(5, 5, 1))),
    "an activation": (exact(MaskedConv2d(3, 6, 3, padding=1)), nn.Sequential(ExactActivation(10))),
}


@pytest.mark.parametrize("layers", OTHERS.values(), ids=OTHERS)
def test_other_modules_are_left_alone(layers: tuple[nn.Module, nn.Module]) -> None:
    assert ContextNet.of(*layers) is None


def test_an_exact_convolution_may_see_what_comes_before_alone() -> None:
    for kernel in (3, 5):
        assert is_causal(exact(MaskedConv2d(2, 4, kernel, padding=kernel // 2)))
        assert not is_causal(exact(MaskedConv2d(2, 4, kernel, padding=kernel // 2, mask_type="B")))
        assert not is_causal(exact(nn.Conv2d(2, 4, kernel, padding=kernel // 2)))


def test_taps_that_a_mask_hides_are_zero() -> None:
    codec = exact_raster()
    masked = MaskedConv2d(8, 16, 3, padding=1)
    masked.mask[:, :, 0, 1] = 0
    layer = exact(masked)
    assert isinstance(layer, ExactLayer)
    assert len(layer.geometry.taps) == 3
    layer.weight = torch.randint(-99, 99, layer.weight.shape, dtype=torch.int16)
    layer.entry.set([2] * 8, [-50] * 8, [50] * 8)
    codec.context_prediction = layer
    y_hat, side = 9 * torch.randn(1, 8, 4, 6), torch.randn(1, 4, 4, 6)
    compiled = ContextNet.of(layer, codec.entropy_parameters)
    assert compiled is not None
    wanted = codec.entropy_parameters(torch.cat([side, layer(y_hat)], 1))
    assert torch.equal(scanned(compiled, side, y_hat, wavefronts(4, 6, 2)), wanted)
    assert torch.equal(scanned(PlainContext(layer, codec.entropy_parameters), side, y_hat, raster_order(4, 6)), wanted)
