"""Whole models code on the device: the CPU's strings, or strings that either reads."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from small_exact import exact_raster
from torch import nn

from tinify.coders import rans
from tinify.coders.rans import Profile, RansCoder
from tinify.entropy_models import EntropyBottleneck, GaussianConditional
from tinify.entropy_models import device as strings
from tinify.entropy_models.device import DeviceReader
from tinify.errors import CorruptStreamError, InputError
from tinify.exact import ExactLayer
from tinify.latent_codecs import CheckerboardLatentCodec, GaussianConditionalLatentCodec, RasterScanLatentCodec, replay
from tinify.latent_codecs.serial import SerialDecoder
from tinify.layers import CheckerboardMaskedConv2d, MaskedConv2d

SHORT = RansCoder(profile=Profile(32, 2048, forks=False))


def gaussians(device: str) -> GaussianConditional:
    model = GaussianConditional(None).to(device)
    model.update()
    return model


def test_strings_of_a_gaussian(device: str, request: pytest.FixtureRequest) -> None:
    torch.manual_seed(0)
    model = gaussians(device)
    model.coder = SHORT
    y, scales, means = (torch.randn(1, 3, 40, 35, device=device) for _ in range(3))
    indexes = model.build_indexes(scales.abs())
    strings = model.cpu().compress(y.cpu(), indexes.cpu(), means.cpu())
    model = model.to(device)
    request.getfixturevalue("kernels")
    assert model.compress(y, indexes, means) == strings
    decoded = model.decompress(strings, indexes, means=means)
    assert torch.equal(decoded, torch.round(y - means) + means)


def test_strings_of_a_bottleneck(device: str, kernels: None) -> None:
    torch.manual_seed(0)
    model = EntropyBottleneck(3).to(device).eval()
    model.coder = SHORT
    z = 5 * torch.randn(1, 3, 40, 36, device=device)
    model.ensure_tables()
    centre = model.centre(z.shape)
    symbols = model.quantize(z, "symbols", centre)
    strings = model.encode(symbols)
    assert torch.equal(model.decode(strings, z.shape), symbols)


@pytest.fixture(params=["float", "exact"])
def raster(device: str, request: pytest.FixtureRequest) -> RasterScanLatentCodec:
    torch.manual_seed(0)
    if request.param == "exact":
        return exact_raster().to(device)
    layers = nn.Conv2d(4 + 16, 12, 1), nn.LeakyReLU(), nn.Conv2d(12, 16, 1)
    codec = RasterScanLatentCodec(gaussians("cpu"), nn.Sequential(*layers), MaskedConv2d(8, 16, 3, padding=1))
    return codec.to(device).eval()


@torch.no_grad()
def test_a_raster_scan(raster: RasterScanLatentCodec, device: str, request: pytest.FixtureRequest) -> None:
    y, side = 3 * torch.randn(2, 8, 4, 6), torch.randn(2, 4, 4, 6)
    exact = isinstance(raster.context_prediction, ExactLayer)
    if exact:  # which clamps what is far from all that it was calibrated on
        y[:, ::2, 1, 1], side[:, ::2, 2, 3] = 1e5, -1e30
    on_cpu = raster.to("cpu").compress(y, side)
    raster.to(device)
    request.getfixturevalue("kernels")
    coded = raster.compress(y.to(device), side.to(device))
    decoded = raster.decompress(coded["strings"], coded["shape"], side.to(device))["y_hat"]
    assert torch.equal(decoded, coded["y_hat"])
    torch.testing.assert_close(decoded.cpu(), on_cpu["y_hat"], atol=1e-5, rtol=1e-5)
    if device == "cuda" or exact:  # chains of fused multiply-adds, there as here; the interpreter has none
        assert torch.equal(decoded.cpu(), on_cpu["y_hat"])
        assert coded["strings"] == on_cpu["strings"]


def test_a_string_is_read_in_slices(device: str, kernels: None) -> None:
    model, scales = gaussians(device), torch.full((4200,), 2.0, device=device)
    symbols = torch.randint(-5, 6, (4200,), dtype=torch.int32, device=device)
    string = model.encode(symbols[None], scales[None])[0]
    reader = model.reader(string, len(symbols))
    assert isinstance(reader, DeviceReader)
    found = [reader.read(part) for part in scales.split(2000)]
    reader.finish()
    assert torch.equal(torch.cat(found), symbols)
    broken = model.reader(string[:-3], len(symbols))
    broken.read(scales)
    with pytest.raises(CorruptStreamError):
        broken.finish()
    with pytest.raises(InputError, match="more symbols"):
        reader.read(scales[:1])


@torch.no_grad()
def test_a_scan_is_recorded_and_replayed(
    raster: RasterScanLatentCodec, device: str, kernels: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = []
    if device == "cpu":  # which has no graphs: what is recorded runs again, with the strings that it was given

        def record(run: Callable[[], None]) -> Callable[[], None]:
            records.append(run)
            return run

        def take(own: SerialDecoder, given: SerialDecoder) -> bool:
            own.rewind()
            return taken(own, given)

        taken = SerialDecoder.take
        monkeypatch.setattr(replay, "_records", lambda device: True)
        monkeypatch.setattr(replay, "_record", record)
        monkeypatch.setattr(SerialDecoder, "take", take)
    monkeypatch.setattr(rans, "TINY_LIMIT", 0)  # short strings have lanes too
    monkeypatch.setattr(strings, "_SLACK", 0)
    for spread in 1.0, 1.0, 1.0, 3000.0, 1.0:  # the last but one takes more room than there is
        y, side = spread * torch.randn(1, 8, 4, 6, device=device), torch.randn(1, 4, 4, 6, device=device)
        coded = raster.compress(y, side)
        decoded = raster.decompress(coded["strings"], coded["shape"], side)["y_hat"]
        assert torch.equal(decoded, coded["y_hat"])
    assert len(records) == (2 if device == "cpu" else 0)


@torch.no_grad()
def test_a_checkerboard(device: str, kernels: None) -> None:
    torch.manual_seed(0)
    codec = CheckerboardLatentCodec(
        y=GaussianConditionalLatentCodec(gaussian_conditional=gaussians("cpu")),
        entropy_parameters=nn.Conv2d(16 + 4, 16, 1),
        context_prediction=CheckerboardMaskedConv2d(8, 16, 5, padding=2),
    )
    codec = codec.to(device).eval()
    y, side = 3 * torch.randn(1, 8, 9, 7, device=device), torch.randn(1, 4, 9, 7, device=device)
    coded = codec.compress(y, side)
    decoded = codec.decompress(coded["strings"], coded["shape"], side)["y_hat"]
    assert torch.equal(decoded, coded["y_hat"])
    torch.testing.assert_close(decoded, codec(y, side)["y_hat"], atol=1e-4, rtol=1e-4)
