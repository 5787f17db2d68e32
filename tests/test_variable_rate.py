"""Variable rate: gain units, quadtrees, the quality in a file, and files of a wanted size."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import tinify
from tinify import container
from tinify.checkpoint import save_model
from tinify.cli.files import compress_command
from tinify.cli.info import info_command
from tinify.codec import Codec
from tinify.errors import CorruptFileError, InputError
from tinify.images import Picture
from tinify.latent_codecs.quadtree import fold, unfold
from tinify.layers import GainUnit
from tinify.losses import RateDistortionLoss
from tinify.models import CompressionModel
from tinify.targets import PSNR_TOLERANCE, compress_to_psnr, compress_to_size
from tinify.training.config import TrainingConfig
from tinify.training.criterion import Criterion

SMALL = {"N": 16, "M": 16, "Z": 8, "F": 16, "B": 1, "D": 0}


@pytest.fixture(scope="module")
def model() -> CompressionModel:
    torch.manual_seed(0)
    return tinify.create_model("tinify-photo", **SMALL).eval()


@pytest.fixture(scope="module")
def codec(model: CompressionModel) -> Codec:
    return Codec(model)


@pytest.fixture(scope="module")
def picture() -> Picture:
    y, x = np.mgrid[0:150, 0:210]
    waves = [127 + 100 * np.sin(x / (5 + c)) * np.cos(y / (9 - c)) for c in range(3)]
    return Picture(np.stack(waves, 2).astype(np.uint8))


@given(st.floats(1, 6), st.integers(1, 5))
def test_gains_are_powers_between_those_of_whole_qualities(quality: float, channels: int) -> None:
    torch.manual_seed(channels)
    unit = GainUnit(channels, points=6)
    torch.nn.init.normal_(unit.log_gain)
    below = min(math.floor(quality), 5)
    first, second = (unit(torch.ones(1, channels, 1, 1), float(q)).flatten() for q in (below, below + 1))
    between = first ** (below + 1 - quality) * second ** (quality - below)
    assert torch.allclose(unit(torch.ones(1, channels, 1, 1), quality).flatten(), between, rtol=1e-4)


@given(st.lists(st.floats(1, 10), min_size=1, max_size=4))
def test_every_batch_item_has_its_own_quality(qualities: list[float]) -> None:
    unit, y = GainUnit(3, span=20.0), torch.randn(len(qualities), 3, 2, 2)
    together = unit(y, torch.tensor(qualities))
    for item, quality in enumerate(qualities):
        assert torch.equal(together[item : item + 1], unit(y[item : item + 1], quality))
    inverse = GainUnit(3, span=1 / 20)
    assert torch.allclose(inverse(together, torch.tensor(qualities)), y, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("quality", [0.99, 10.5, math.nan, -1.0, math.inf])
def test_a_quality_out_of_range_is_named(quality: float, model: CompressionModel, codec: Codec) -> None:
    with pytest.raises(InputError, match="expected a number from 1 to 10"):
        GainUnit(2)(torch.ones(1, 2, 1, 1), quality)
    with pytest.raises(InputError, match="expected a number from 1 to 10"):
        model(torch.zeros(1, 3, 64, 64), quality=quality)
    with pytest.raises(InputError, match="expected a number from 1 to 10"):
        codec.at(quality)


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4))
def test_folding_is_a_permutation_of_corners(batch: int, quarter: int, height: int, width: int) -> None:
    y = torch.arange(batch * 4 * quarter * 4 * height * width).reshape(batch, 4 * quarter, 2 * height, 2 * width)
    folded = fold(y)
    assert torch.equal(unfold(folded), y)
    step = folded.chunk(4, 1)
    for quarter_of_channels in range(4):
        own = slice(quarter_of_channels * quarter, (quarter_of_channels + 1) * quarter)
        corners = [(y[:, own, row::2, column::2]) for row in (0, 1) for column in (0, 1)]
        seen = [next(k for k, corner in enumerate(corners) if torch.equal(part[:, own], corner)) for part in step]
        assert sorted(seen) == [0, 1, 2, 3]
        assert seen[1] == seen[0] ^ 3, "the second step is diagonal to the first"
    channels = torch.arange(4 * quarter)[None, :, None, None].expand_as(y[:1])
    for part in fold(channels).chunk(4, 1):
        assert torch.equal(part[0, :, 0, 0], torch.arange(4 * quarter)), "a step has all channels, in order"


@pytest.mark.parametrize("size", [(1, 3, 2, 2), (1, 4, 3, 2), (1, 4, 2, 5)])
def test_what_has_no_squares_is_named(size: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="multiple of 4, and even sides"):
        fold(torch.zeros(size))


@settings(deadline=None, max_examples=10)
@given(st.floats(1, 10), st.integers(1, 2))
def test_any_quality_comes_back_as_it_was_coded(quality: float, batch: int) -> None:
    torch.manual_seed(1)
    model = tinify.create_model("tinify-photo", **SMALL).eval()
    packed = model.compress(torch.rand(batch, 3, 64, 128), quality=quality)
    decoded = model.decompress(packed["strings"], packed["shape"], quality=quality)
    assert torch.equal(decoded["x_hat"], model.reconstruct(packed["y_hat"])["x_hat"])


def test_a_batch_of_qualities_is_each_alone(model: CompressionModel) -> None:
    x, qualities = torch.rand(3, 3, 64, 64), torch.tensor([1.0, 5.5, 10.0])
    together = model(x, quality=qualities)
    for item, quality in enumerate(qualities):
        alone = model(x[item : item + 1], quality=float(quality))
        assert torch.allclose(together["x_hat"][item], alone["x_hat"][0], atol=1e-5)
        for name, likelihood in alone["likelihoods"].items():
            assert torch.allclose(together["likelihoods"][name][item], likelihood[0], atol=1e-5)


def test_a_model_of_one_rate_takes_no_quality(picture: Picture) -> None:
    fixed = tinify.create_model("bmshj2018-factorized", N=8, M=8).eval()
    with pytest.raises(InputError, match="one rate"):
        fixed(torch.zeros(1, 3, 64, 64), quality=5)
    codec = Codec(fixed)
    assert codec.qualities is None
    assert codec.quality is None
    with pytest.raises(InputError, match="one rate; leave the quality out"):
        codec.compress(picture, quality=5)
    with pytest.raises(InputError, match="no target can be aimed at"):
        compress_to_size(codec, picture, 1000)
    assert container.read(codec.compress(picture)).quality is None


def test_files_say_their_quality_in_thousandths(codec: Codec, picture: Picture) -> None:
    assert codec.quality == 5
    for quality, kept in ((1, 1000), (3.14159, 3142), (10.0, 10_000)):
        data = codec.compress(picture, quality)
        packed = container.read(data)
        assert packed.quality == kept
        assert np.array_equal(codec.decompress(data).pixels, codec.at(quality).reconstruct(picture).pixels)
    for damaged in (None, 10_001, 1):
        with pytest.raises(CorruptFileError):
            codec.decompress(container.write(replace(packed, quality=damaged)))
    for impossible in (0, -1, 2**20 + 1):
        with pytest.raises(InputError, match="thousandths"):
            container.write(replace(packed, quality=impossible))


def test_better_qualities_are_larger_files(codec: Codec, picture: Picture) -> None:
    sizes = [len(codec.compress(picture, quality)) for quality in (1, 4, 7, 10)]
    assert sizes == sorted(sizes)
    assert sizes[-1] > 2 * sizes[0]


@settings(deadline=None, max_examples=8)
@given(st.floats(0, 1))
def test_files_have_the_size_that_was_asked_for(share: float) -> None:
    torch.manual_seed(0)
    codec = Codec(tinify.create_model("tinify-photo", **SMALL).eval())
    picture = Picture(np.random.default_rng(0).integers(0, 255, (128, 192, 3), np.uint8))
    least, most = (len(codec.compress(picture, quality)) for quality in (1, 10))
    wanted = least + share * (most - least)
    hit = compress_to_size(codec, picture, wanted)
    assert hit.reached
    assert 0.98 * wanted <= len(hit.data) == hit.value <= wanted
    assert container.read(hit.data).quality == round(1000 * hit.quality)


def test_targets_out_of_reach_give_the_nearest(codec: Codec, picture: Picture) -> None:
    least, most = (codec.compress(picture, quality) for quality in (1, 10))
    assert (compress_to_size(codec, picture, 10).data, compress_to_size(codec, picture, 10**7).data) == (least, most)
    assert not compress_to_size(codec, picture, 10).reached
    assert not compress_to_size(codec, picture, 10**7).reached
    best = compress_to_psnr(codec, picture, 90)
    assert best.quality == 10
    assert not best.reached
    for impossible in (0, -1, math.nan, math.inf):
        with pytest.raises(InputError, match="expected a positive number"):
            compress_to_size(codec, picture, impossible)


def test_a_picture_has_the_psnr_that_was_asked_for() -> None:
    """A codec whose PSNR rises with quality, as a trained one's does: an identity that is quantised."""
    picture = Picture(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))

    class Rounding(Codec):
        def __init__(self) -> None:
            super().__init__(tinify.create_model("tinify-photo", **SMALL).eval())

        def reconstruct(self, picture: Picture) -> Picture:
            step = 2 ** (8 - 0.7 * (self.quality or 0))
            return Picture(np.clip(np.round(picture.pixels / step) * step, 0, 255).astype(np.uint8))

    for wanted in (20.0, 30.0, 38.0):
        hit = compress_to_psnr(Rounding(), picture, wanted)
        assert hit.reached
        assert wanted <= hit.value <= wanted + PSNR_TOLERANCE


def test_the_command_line_aims(tmp_path: Path, model: CompressionModel, picture: Picture) -> None:
    photo, weights, out = tmp_path / "photo.png", tmp_path / "model.safetensors", tmp_path / "photo.tfy"
    Image.fromarray(picture.pixels).save(photo)
    save_model(model, weights)

    def run(*words: object) -> dict[str, object]:
        done = CliRunner().invoke(compress_command, [*map(str, (photo, out, "--model", weights, "--json", *words))])
        return json.loads(done.stdout) if done.exit_code == 0 else {"error": f"{done.exception} {done.stderr}"}

    small, large = (int(str(run("--quality", q)["bytes"])) for q in (1, 10))
    wanted = (small + large) // 2
    assert 0.98 * wanted <= int(str(run("--bytes", wanted)["bytes"])) == out.stat().st_size <= wanted
    bpp = 8 * wanted / (150 * 210)
    assert 0.98 * bpp <= float(str(run("--bpp", bpp)["bpp"])) <= bpp
    assert "the nearest is" in str(run("--bytes", 1)["notes"])
    assert run("--psnr", 99)["quality"] == 10
    assert "give one of them" in str(run("--psnr", 30, "--bpp", 1)["error"])
    assert "expected a number from 1 to 10" in str(run("--quality", 11)["error"])
    info = CliRunner().invoke(info_command, [str(out), "--json"])
    assert json.loads(info.stdout)["quality"] == 10


def test_the_loss_of_a_batch_is_the_mean_of_weighted_ones() -> None:
    torch.manual_seed(0)
    x, x_hat = torch.rand(3, 3, 16, 16), torch.rand(3, 3, 16, 16)
    likelihoods = {"y": torch.rand(3, 4, 2, 2), "z": torch.rand(3, 2, 1, 1)}
    lmbda, weight = torch.tensor([0.01, 0.1, 1.0]), torch.tensor([3.0, 2.0, 1.0])
    together = RateDistortionLoss()({"x_hat": x_hat, "likelihoods": likelihoods}, x, lmbda, weight)["loss"]
    alone = []
    for item in range(3):
        part = {"x_hat": x_hat[item, None], "likelihoods": {name: v[item, None] for name, v in likelihoods.items()}}
        alone.append(weight[item] * RateDistortionLoss(float(lmbda[item]))(part, x[item, None])["loss"])
    assert torch.allclose(together, torch.stack(alone).mean(), rtol=1e-5)


def test_a_loss_of_one_lambda_is_named_where_there_is_a_range() -> None:
    class OneLambda(torch.nn.Module):
        def forward(self, output: object, target: object) -> dict[str, torch.Tensor]:
            return {"loss": torch.zeros(())}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tinify.training.criterion.build_part", lambda kind, node: OneLambda())
        Criterion(TrainingConfig(lmbda=0.01))
        with pytest.raises(InputError, match="takes one lambda, and the run has a range"):
            Criterion(TrainingConfig(lmbda=(0.01, 0.1)))
