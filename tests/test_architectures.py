"""Every architecture that ships: pictures of any size go through files and back, at the rate that was promised."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import skimage.data
import torch

import tinify
from tinify.codec import Codec
from tinify.errors import InputError
from tinify.images import Picture
from tinify.latent_codecs import ChannelGroupsLatentCodec
from tinify.models import CompressionModel
from tinify.registry import get_registry

SMALL: dict[str, dict[str, Any]] = {
    "bmshj2018-factorized": {"N": 8, "M": 12},
    "bmshj2018-factorized-relu": {"N": 8, "M": 12},
    "bmshj2018-hyperprior": {"N": 8, "M": 12},
    "mbt2018-mean": {"N": 8, "M": 12},
    "mbt2018": {"N": 8, "M": 12},
    "cheng2020-anchor": {"N": 8},
    "cheng2020-attn": {"N": 8},
    "cheng2020-anchor-checkerboard": {"N": 8},
    "elic2022-official": {"N": 8, "M": 16, "groups": [2, 2, 4, 8]},
    "elic2022-chandelier": {"N": 8, "M": 16, "groups": [2, 2, 4, 8]},
    "bmshj2018-hyperprior-vbr": {"N": 8, "M": 12},
    "mbt2018-mean-vbr": {"N": 8, "M": 12},
    "mbt2018-vbr": {"N": 8, "M": 12},
    "tinify-photo": {"N": 8, "M": 8, "Z": 4, "B": 1, "D": 0},
}

PUBLISHED = {
    ("bmshj2018-factorized", "q1"): 2_998_147,
    ("bmshj2018-factorized", "q8"): 7_030_531,
    ("bmshj2018-factorized-relu", "q1"): 2_899_075,
    ("bmshj2018-hyperprior", "q1"): 5_075_843,
    ("bmshj2018-hyperprior", "q8"): 11_816_323,
    ("mbt2018-mean", "q1"): 7_028_003,
    ("mbt2018-mean", "q8"): 17_561_699,
    ("mbt2018", "q1"): 14_130_467,
    ("mbt2018", "q8"): 25_504_596,
    ("cheng2020-anchor", "q1"): 11_833_149,
    ("cheng2020-anchor", "q6"): 26_598_956,
    ("cheng2020-attn", "q1"): 13_183_293,
    ("cheng2020-attn", "q6"): 29_631_788,
    ("cheng2020-anchor-checkerboard", None): 26_598_956,
    ("elic2022-official", None): 32_074_200,
    ("elic2022-chandelier", None): 33_792_771,
    ("bmshj2018-hyperprior-vbr", None): 11_816_677,
    ("mbt2018-mean-vbr", None): 17_562_053,
}


def model_of(name: str) -> CompressionModel:
    torch.manual_seed(0)
    return tinify.create_model(name, **SMALL[name]).eval()


def picture(height: int, width: int) -> Picture:
    rows, columns = np.mgrid[:height, :width]
    smooth = np.stack([rows * 3 + columns, columns * 2, rows + 40], -1) % 256
    noise = np.random.default_rng(0).integers(0, 30, (height, width, 3))
    return Picture(np.clip(smooth + noise, 0, 255).astype(np.uint8))


def test_every_spec_is_here() -> None:
    clouds = {name for name in get_registry().spec_files() if "-pcc-" in name}
    others = {"mnist", "ssf2020", *clouds}  # of digits, video and point clouds
    assert SMALL.keys() == get_registry().spec_files().keys() - others


@pytest.mark.parametrize(("name", "preset"), PUBLISHED)
def test_sizes_are_the_published_ones(name: str, preset: str | None) -> None:
    with torch.device("meta"):
        model = tinify.create_model(name, preset=preset)
    assert sum(parameter.numel() for parameter in model.parameters()) == PUBLISHED[name, preset]


@pytest.mark.parametrize("name", SMALL)
def test_any_size_goes_through_a_file_at_the_estimated_rate(name: str) -> None:
    model = model_of(name)
    for part in model.modules():
        if isinstance(part, ChannelGroupsLatentCodec):  # untrained, they would expect scales far below what comes
            for inner in part.latent_codec.values():
                inner.entropy_parameters[-1].bias.data.fill_(2)
    codec = Codec(model)
    for height, width in ((1, 1), (17, 33), (511, 769)):
        given = picture(height, width)
        data = codec.compress(given)
        decoded = codec.decompress(data)
        assert np.array_equal(decoded.pixels, codec.reconstruct(given).pixels)
        bits = codec.estimate(given)
        assert np.isfinite(bits)
        assert abs(8 * len(data) - bits) <= 0.01 * bits + 8 * 64 + 8 * HEADERS


HEADERS = 160
"""Bytes of a small file that are no strings."""


def test_bfloat16_costs_little() -> None:
    trained = "tinify-photo"
    given = Picture(skimage.data.coffee()[40:296, 100:420])
    exact, quick = (Codec(tinify.load_model(trained), precision=which) for which in ("float32", "bfloat16"))
    psnr = [psnr_of(given, codec.decompress(codec.compress(given))) for codec in (exact, quick)]
    assert abs(psnr[0] - psnr[1]) <= 0.05
    crossed = exact.decompress(quick.compress(given))
    assert abs(psnr[0] - psnr_of(given, crossed)) <= 0.05
    with pytest.raises(InputError, match="unknown precision 'float8'"):
        Codec(tinify.load_model(trained), precision="float8")


def psnr_of(one: Picture, other: Picture) -> float:
    return float(10 * np.log10(255**2 / np.mean((one.pixels.astype(float) - other.pixels) ** 2)))


@pytest.mark.parametrize("name", SMALL)
def test_a_batch_is_its_items(name: str) -> None:
    model, x = model_of(name), torch.rand(3, 3, 64, 128)
    packed = model.compress(x)
    decoded = model.decompress(packed["strings"], packed["shape"])["x_hat"]
    assert torch.equal(decoded, model.reconstruct(packed["y_hat"])["x_hat"])
    assert all(len(strings) == 3 for strings in packed["strings"])
    one = model.compress(x[1:2])
    assert float((one["y_hat"] - packed["y_hat"][1:2]).abs().max()) <= 1.0001
    with torch.no_grad():
        out = model(x)
    assert torch.isfinite(out["x_hat"]).all()


@pytest.mark.parametrize("name", SMALL)
def test_training_reaches_every_weight(name: str) -> None:
    model = model_of(name).train()
    out = model(torch.rand(2, 3, 64, 64))
    rate = sum(-likelihood.log().sum() for likelihood in out["likelihoods"].values())
    (rate + (out["x_hat"] ** 2).sum() + model.aux_loss()).backward()
    without = [key for key, parameter in model.named_parameters() if parameter.grad is None]
    assert not without
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters() if parameter.grad is not None)
