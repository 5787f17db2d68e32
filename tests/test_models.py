"""Specs become models: parameter counts, keys and readings of the field."""

from __future__ import annotations

import pytest
import torch

import tinify
from tinify.errors import InputError, SpecError, UnknownNameError
from tinify.losses import RateDistortionLoss

PUBLISHED = ["bmshj2018-factorized", "bmshj2018-hyperprior", "mbt2018-mean"]


@pytest.mark.parametrize(
    ("name", "preset", "count"),
    [
        ("bmshj2018-factorized", "q1", 2_998_147),
        ("bmshj2018-factorized", "q8", 7_030_531),
        ("bmshj2018-hyperprior", "q5", 5_075_843),
        ("bmshj2018-hyperprior", "q6", 11_816_323),
        ("mbt2018-mean", "q4", 7_028_003),
        ("mbt2018-mean", "q5", 17_561_699),
    ],
)
def test_parameter_counts_are_the_fields(name: str, preset: str, count: int) -> None:
    with torch.device("meta"):
        model = tinify.create_model(name, preset=preset)
    assert sum(p.numel() for p in model.parameters()) == count


def test_layers_have_the_fields_keys_and_shapes() -> None:
    keys = {k: tuple(v.shape) for k, v in tinify.create_model("mbt2018-mean", N=8, M=12).state_dict().items()}
    assert keys["g_a.0.weight"] == (8, 3, 5, 5)
    assert keys["g_a.6.bias"] == (12,)
    assert keys["g_a.1.gamma"] == (8, 8)
    assert keys["g_s.6.weight"] == (8, 3, 5, 5)
    assert keys["latent_codec.hyper.h_a.0.weight"] == (8, 12, 3, 3)
    assert keys["latent_codec.hyper.h_s.2.weight"] == (12, 18, 5, 5)
    assert keys["latent_codec.hyper.h_s.4.weight"] == (24, 18, 3, 3)
    assert keys["latent_codec.hyper.entropy_bottleneck.matrices.4"] == (8, 1, 3)


@pytest.mark.parametrize("name", PUBLISHED)
def test_bytes_decode_to_what_the_encoder_saw(name: str) -> None:
    torch.manual_seed(0)
    model = tinify.create_model(name, N=8, M=12).eval()
    x = torch.rand(2, 3, 128, 64)
    packed = model.compress(x)
    decoded = model.decompress(packed["strings"], packed["shape"])["x_hat"]
    assert torch.equal(decoded, model.reconstruct(packed["y_hat"])["x_hat"])  # type: ignore[operator]
    assert torch.equal(decoded, model(x)["x_hat"].clamp(0, 1))
    expected = {"y"} if name.endswith("factorized") else {"y", "z"}
    assert set(model(x)["likelihoods"]) == expected


@pytest.mark.parametrize("name", [*PUBLISHED, "tinify-photo"])
def test_a_training_step_reaches_every_parameter(name: str) -> None:
    torch.manual_seed(0)
    model = tinify.create_model(name, N=8, M=12)
    x = torch.rand(1, 3, 64, 64)
    out = RateDistortionLoss(0.01)(model(x), x)
    assert out["loss"].item() == pytest.approx(
        out["bpp_loss"].item() + 0.01 * 255**2 * out["mse_loss"].item(), rel=1e-5
    )
    out["loss"].backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None and not name.endswith("quantiles")]
    assert silent == []


def test_ms_ssim_is_a_loss_too() -> None:
    x = torch.rand(1, 3, 192, 192)
    out = {"x_hat": x.clone().requires_grad_(), "likelihoods": {"y": torch.full((1, 4, 12, 12), 0.5)}}
    losses = RateDistortionLoss(10.0, metric="ms-ssim")(out, x)
    assert losses["ms_ssim_loss"].item() == pytest.approx(1)  # the similarity, under the field's name
    assert losses["bpp_loss"].item() == pytest.approx(4 * 144 / 192**2)
    with pytest.raises(InputError, match="unknown metric 'psnr'"):
        RateDistortionLoss(metric="psnr")


def test_pictures_that_do_not_fit_are_named() -> None:
    model = tinify.create_model("bmshj2018-factorized", N=8, M=8).eval()
    with pytest.raises(InputError, match="multiples of 16"):
        model(torch.rand(1, 3, 20, 32))
    with pytest.raises(InputError, match="expected floats"):
        model(torch.zeros(1, 3, 16, 16, dtype=torch.uint8))
    with pytest.raises(InputError, match="NaN"):
        model.compress(torch.full((1, 3, 16, 16), torch.nan))


def test_unknown_names_list_what_there_is() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'mbt2018-mean'"):
        tinify.create_model("mbt2018-men")
    with pytest.raises(UnknownNameError, match="q8"):
        tinify.create_model("mbt2018-mean", preset="q9")
    with pytest.raises((UnknownNameError, SpecError), match="N"):
        tinify.create_model("mbt2018-mean", n=3)
