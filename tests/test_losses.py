"""Laws of the rate-distortion loss and of MS-SSIM."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from tinify.errors import InputError
from tinify.losses import LAMBDAS, RateDistortionLoss
from tinify.metrics import MS_SSIM_MIN_SIDE, ms_ssim

SIDES = st.integers(MS_SSIM_MIN_SIDE, MS_SSIM_MIN_SIDE + 20)


def picture(height: int = 170, width: int = 190, seed: int = 0, batch: int = 2) -> Tensor:
    """Smooth shapes, (batch, 3, height, width) in [0, 1]."""
    coarse = torch.rand(batch, 3, 9, 9, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return F.interpolate(coarse, size=(height, width), mode="bilinear")


def noisy(x: Tensor, amount: float) -> Tensor:
    return x + amount * torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype)


def readable_ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """The paper's formulas, with explicit windows."""
    place = torch.arange(11, dtype=torch.float64) - 5
    bell = torch.exp(-(place[:, None] ** 2 + place**2) / 4.5)
    window = (bell / bell.sum()).flatten()
    per_scale = []
    for _ in range(5):
        p, q = (x.unfold(2, 11, 1).unfold(3, 11, 1).flatten(-2) for x in (a, b))
        mean_p, mean_q = p @ window, q @ window
        var_p, var_q = p**2 @ window - mean_p**2, q**2 @ window - mean_q**2
        covariance = p * q @ window - mean_p * mean_q
        structure = (2 * covariance + 9e-4) / (var_p + var_q + 9e-4)
        luminance = (2 * mean_p * mean_q + 1e-4) / (mean_p**2 + mean_q**2 + 1e-4)
        per_scale.append((structure.mean((2, 3)), (luminance * structure).mean((2, 3))))
        odd = [side % 2 for side in a.shape[2:]]
        a, b = (F.avg_pool2d(F.pad(x, (odd[1], odd[1], odd[0], odd[0])), 2) for x in (a, b))
    exponents = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
    terms = [structure for structure, _ in per_scale[:4]] + [per_scale[4][1]]
    return torch.stack([term.clamp_min(0) ** e for term, e in zip(terms, exponents, strict=True)]).prod(0).mean()


@pytest.mark.parametrize(("height", "width"), [(161, 161), (176, 192), (163, 170)])
def test_ms_ssim_is_the_papers(height: int, width: int) -> None:
    a = picture(height, width, batch=1)
    torch.testing.assert_close(ms_ssim(noisy(a, 0.1), a), readable_ms_ssim(noisy(a, 0.1), a))


@settings(max_examples=8)
@given(SIDES, SIDES, st.floats(0.01, 0.3))
def test_ms_ssim_is_symmetric_and_falls_with_noise(height: int, width: int, amount: float) -> None:
    a = picture(height, width, batch=1)
    b, worse = noisy(a, amount), noisy(a, 2 * amount)
    assert float(ms_ssim(a, a)) == pytest.approx(1)
    assert float(ms_ssim(a, b)) == pytest.approx(float(ms_ssim(b, a)))
    assert 0 <= float(ms_ssim(a, worse)) < float(ms_ssim(a, b)) < 1


def test_ms_ssim_of_a_batch_is_the_mean() -> None:
    a = picture()
    b = noisy(a, 0.1)
    alone = torch.stack([ms_ssim(x[None], y[None]) for x, y in zip(a, b, strict=True)])
    torch.testing.assert_close(ms_ssim(a, b), alone.mean())


def test_the_gradient_is_finite_where_structures_are_opposite() -> None:
    a = picture(batch=1)
    negative = (1 - a).requires_grad_()
    similarity = ms_ssim(negative, a)
    similarity.backward()
    assert similarity.item() == 0
    assert negative.grad is not None
    assert bool(torch.isfinite(negative.grad).all())


@pytest.mark.parametrize(
    "shapes", [((1, 3, 160, 200),) * 2, ((1, 3, 170, 170), (1, 3, 170, 171)), ((3, 170, 170),) * 2]
)
def test_what_ms_ssim_cannot_take_is_named(shapes: Any) -> None:
    with pytest.raises(InputError, match="of one shape, sides at least 161; got"):
        ms_ssim(*(torch.rand(shape) for shape in shapes))


def output_of(x_hat: Tensor, *likelihoods: Tensor) -> dict[str, Any]:
    return {"x_hat": x_hat, "likelihoods": {f"y{index}": part for index, part in enumerate(likelihoods)}}


@given(st.floats(1e-4, 1), st.floats(1e-4, 1), st.floats(0, 10))
def test_the_loss_is_bits_and_error(first: float, second: float, lmbda: float) -> None:
    target = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    parts = torch.full((2, 6, 1, 2), first), torch.full((2, 2, 1, 1), second)
    losses = RateDistortionLoss(lmbda)(output_of(target + 0.1, *parts), target)
    bits = -24 * math.log2(first) - 4 * math.log2(second)
    assert losses["bpp_loss"].item() == pytest.approx(bits / 40, rel=1e-5, abs=1e-6)
    assert losses["mse_loss"].item() == pytest.approx(0.01)
    assert losses["loss"].item() == pytest.approx(bits / 40 + lmbda * 255**2 * 0.01, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("metric", LAMBDAS)
def test_a_return_type_names_one_of_all(metric: str) -> None:
    target = picture().float()
    output = output_of(noisy(target, 0.1), torch.full((2, 4, 3, 3), 0.5))
    losses = RateDistortionLoss(3.0, metric)(output, target)
    assert set(losses) == {"bpp_loss", metric.replace("-", "_") + "_loss", "loss"}
    for name, value in losses.items():
        assert torch.equal(RateDistortionLoss(3.0, metric, name)(output, target), value)
    distortion = 255**2 * losses["mse_loss"] if metric == "mse" else 1 - losses["ms_ssim_loss"]
    torch.testing.assert_close(losses["loss"], losses["bpp_loss"] + 3 * distortion)


def test_half_precision_is_measured_in_that_of_the_target() -> None:
    target = torch.rand(1, 3, 4, 4)
    output = output_of(target.bfloat16(), torch.full((1, 1, 1, 1), 0.5))
    losses = RateDistortionLoss()(output, target)
    assert {value.dtype for value in losses.values()} == {torch.float32}
    assert torch.equal(losses["mse_loss"], F.mse_loss(target.bfloat16().float(), target))


def test_what_the_loss_does_not_know_is_named() -> None:
    with pytest.raises(InputError, match="unknown metric 'psnr': expected 'mse' or 'ms-ssim'") as raised:
        RateDistortionLoss(metric="psnr")
    assert isinstance(raised.value, NotImplementedError)
    with pytest.raises(InputError, match="unknown return_type 'ms_ssim_loss': expected 'all' or 'loss'"):
        RateDistortionLoss(return_type="ms_ssim_loss")
