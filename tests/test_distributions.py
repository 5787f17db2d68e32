"""Distributions: densities that are ones, tails without loss, gradients that are finite, special cases."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Categorical

from tinify import distributions as d
from tinify.errors import InputError
from tinify.ops import (
    lower_bound,
    perturb_and_apply,
    round_st,
    soft_round,
    soft_round_conditional_mean,
    soft_round_inverse,
    upper_bound,
)

BASES = (d.Logistic, d.Normal, d.Laplace)
NOISY = {
    "logistic": d.NoisyLogistic,
    "normal": d.NoisyNormal,
    "laplace": d.NoisyLaplace,
    "rounded": d.NoisyRoundedNormal,
    "soft": d.NoisySoftRoundedNormal,
}

DEEP = (d.NoisyDeepFactorized, d.NoisyRoundedDeepFactorized, d.NoisySoftRoundedDeepFactorized)


def double(x: Any) -> Tensor:
    return torch.as_tensor(x, dtype=torch.float64)


def noisy(name: str, loc: float, scale: float) -> Any:
    return NOISY[name](double(loc), double(scale))


def deep(make: type, *args: Any, seed: int = 0) -> Any:
    """A deep density whose parameters are not as they begin."""
    torch.manual_seed(seed)
    made = make(*args)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return made.double()


def mixture() -> d.NoisyNormalMixture:
    return d.NoisyNormalMixture(double([[-3.0, 4.25]]), double([[0.7, 2.0]]), double([[0.3, 0.7]]))


@pytest.mark.parametrize("family", BASES)
@given(st.floats(-50, 50), st.floats(0.01, 30), st.floats(-40, 40))
def test_cumulative_functions_are_those_of_the_family(family: Any, loc: float, scale: float, steps: float) -> None:
    base, x = family(double(loc), double(scale)), double(loc + steps * scale)
    assert torch.allclose(base.cdf(x), torch.exp(base.log_cdf(x)), rtol=1e-6, atol=1e-12)
    assert torch.allclose(torch.exp(base.log_cdf(x)) + base.survival_function(x), double(1.0))
    mirrored = base.log_cdf(2 * double(loc) - x)
    assert torch.allclose(mirrored, base.log_survival_function(x), rtol=1e-6, atol=1e-9)
    slope = (base.cdf(x + 1e-6 * scale) - base.cdf(x - 1e-6 * scale)) / (2e-6 * scale)
    if abs(steps) > 1e-3:  # where Laplace has a corner
        assert torch.allclose(slope, torch.exp(base.log_prob(x)), rtol=1e-3, atol=1e-7 / scale)


@pytest.mark.parametrize("family", BASES)
def test_a_base_in_its_far_tails(family: Any) -> None:
    base, x = family(0.0, 1.0), torch.tensor([-1e4, -30.0, 30.0, 1e4], requires_grad=True)
    total = base.log_cdf(x).sum() + base.log_survival_function(x).sum()
    total.backward()
    assert torch.isfinite(total)
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
    assert base.log_cdf(x)[0] < base.log_cdf(x)[1] < -29


@pytest.mark.parametrize("family", BASES)
@given(st.floats(1e-9, 0.5))
def test_tails_of_a_base(family: Any, mass: float) -> None:
    base = family(double([0.5, -2.0]), double([1.0, 7.0]))
    for tail, log in (
        (d.lower_tail(base, mass), base.log_cdf),
        (d.upper_tail(base, mass), base.log_survival_function),
    ):
        assert torch.allclose(log(tail), double(math.log(mass / 2)), rtol=1e-6)


def test_a_logistic_draws_what_it_says() -> None:
    torch.manual_seed(0)
    drawn = d.Logistic(2.0, 3.0).sample((100_000,))
    assert abs(drawn.mean() - 2) < 0.1
    assert abs(drawn.var() / d.Logistic(2.0, 3.0).variance - 1) < 0.05


def test_a_noisy_logistic_at_zero_is_a_tanh() -> None:
    scales = torch.tensor([0.01, 0.1, 0.5, 1.0, 2.0, 100.0], dtype=torch.float64)
    prior = d.NoisyLogistic(0.0, scales)
    assert torch.allclose(prior.prob(double(0.0)), torch.tanh(1 / (4 * scales)))
    assert round(prior.prob(double(0.0))[4].item(), 4) == 0.1244


@pytest.mark.parametrize("name", NOISY)
@given(st.floats(-20, 20), st.floats(0.02, 8), st.floats(-0.5, 0.5))
def test_at_shifted_integers_a_noisy_density_is_a_mass_function(
    name: str, loc: float, scale: float, shift: float
) -> None:
    prior = noisy(name, loc, scale)
    steps = torch.arange(-500, 501, dtype=torch.float64) + shift
    assert torch.allclose(prior.prob(steps).sum(), double(1.0), rtol=1e-6)


@pytest.mark.parametrize("name", ["logistic", "normal", "laplace"])
def test_narrow_bases_give_the_unit_box(name: str) -> None:
    prior = noisy(name, 0.0, 1e-4)
    x = double([-0.6, -0.49, 0.0, 0.49, 0.6])
    assert torch.allclose(prior.prob(x), double([0.0, 1.0, 1.0, 1.0, 0.0]), atol=1e-9)


@pytest.mark.parametrize("name", NOISY)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_finite_however_far_out(name: str, dtype: torch.dtype) -> None:
    far = [0.0, 0.25, 0.5, 1.0, 2.5, 30.0, 1e3, 1e5]
    for scale in (1e-3, 0.1, 1.0, 50.0, 1e6):
        y = torch.tensor([*far, *(-one for one in far)], dtype=dtype, requires_grad=True)
        width = torch.tensor(scale, dtype=dtype, requires_grad=True)
        loc = torch.tensor(0.0, dtype=dtype, requires_grad=True)
        log_prob = NOISY[name](loc, width).log_prob(y)
        finite = torch.isfinite(log_prob)
        assert not log_prob.isnan().any()
        assert finite.all() or scale <= 0.1
        log_prob[finite].sum().backward()
        assert all(torch.isfinite(one.grad).all() for one in (y, width, loc) if one.grad is not None)
        assert y.grad is not None


@pytest.mark.parametrize("name", ["logistic", "normal", "laplace", "soft"])
def test_gradients_are_the_derivatives(name: str) -> None:
    y = double([-7.3, -0.8, 0.1, 0.7, 12.3]).requires_grad_()
    loc, scale = double(0.3).requires_grad_(), double(1.7).requires_grad_()

    def log_prob(y: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        log_prob: Tensor = NOISY[name](loc, scale).log_prob(y)
        return log_prob

    assert torch.autograd.gradcheck(log_prob, (y, loc, scale))


def test_gradients_of_mixtures_and_deep_densities_are_the_derivatives() -> None:
    y = double([[-2.3], [0.1], [6.7]]).requires_grad_()
    loc, scale, weight = (double(one).requires_grad_() for one in ([[-3.0, 4]], [[0.7, 2]], [[0.3, 0.7]]))
    for family in (d.NoisyNormalMixture, d.NoisyLogisticMixture):

        def log_prob(y: Tensor, *parameters: Tensor, family: Any = family) -> Tensor:
            log_prob: Tensor = family(*parameters).log_prob(y)
            return log_prob

        assert torch.autograd.gradcheck(log_prob, (y, loc, scale, weight))
    prior = deep(d.NoisyDeepFactorized, (1,))
    assert torch.autograd.gradcheck(prior.log_prob, (y,))
    prior.log_prob(y).sum().backward()
    assert all(parameter.grad is not None for parameter in prior.parameters())


def test_mixtures() -> None:
    prior, parts = mixture(), d.NoisyNormal(double([-3.0, 4.25]), double([0.7, 2.0]))
    y = torch.linspace(-20, 20, 81, dtype=torch.float64)[:, None]
    assert torch.allclose(prior.prob(y)[:, 0], (parts.prob(y) * double([0.3, 0.7])).sum(-1))
    steps = torch.arange(-100, 101, dtype=torch.float64)[:, None]
    assert torch.allclose(prior.prob(steps).sum(), double(1.0))
    assert torch.allclose(prior.base.cdf(y), torch.exp(prior.base.log_cdf(y)))
    assert (d.lower_tail(prior, 0.01) < -3).all()
    assert (d.upper_tail(prior, 0.01) > 4).all()
    assert torch.allclose(prior.base.log_survival_function(d.upper_tail(prior, 0.01)), double(math.log(0.005)))
    assert prior.batch_shape == prior.sample((5,)).shape[1:] == (1,)
    assert prior.sample((5,)).shape == (5, 1)
    far = prior.log_prob(double([[1e4]]))
    assert torch.isfinite(far).all()
    made = d.NoisyMixtureSameFamily(Categorical(probs=torch.ones(3)), d.Laplace(torch.zeros(3), 1.0))
    assert torch.allclose(made.prob(torch.tensor(0.2)), d.NoisyLaplace(0.0, 1.0).prob(torch.tensor(0.2)))


def test_the_offset_of_a_mixture_is_that_of_its_peak() -> None:
    peaks = d.NoisyLogisticMixture(double([[0.3, 5.2], [0.3, 5.2]]), double([[0.1] * 2] * 2), double([[3, 1], [1, 3]]))
    assert torch.allclose(d.quantization_offset(peaks), double([0.3, 0.2]))


def test_a_deep_density_without_filters_is_a_logistic() -> None:
    prior = d.DeepFactorized((3,), num_filters=(), init_scale=4.0).double()
    scale = 1 / torch.nn.functional.softplus(prior.matrices[0][:, 0, 0])
    logistic = d.Logistic(-prior.biases[0][:, 0, 0] * scale, scale)
    y = torch.linspace(-30, 30, 13, dtype=torch.float64)[:, None].expand(13, 3)
    for name in ("log_prob", "log_cdf", "log_survival_function", "cdf"):
        assert torch.allclose(getattr(prior, name)(y), getattr(logistic, name)(y))
    for helper in (d.quantization_offset, lambda one: d.lower_tail(one, 0.01), lambda one: d.upper_tail(one, 0.01)):
        assert torch.allclose(helper(prior), helper(logistic))


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
@pytest.mark.parametrize("make", DEEP)
def test_deep_densities(make: type, shape: tuple[int, ...]) -> None:
    prior = deep(make, shape, (3, 3), 2.0)
    assert prior.batch_shape == shape
    steps = torch.arange(-400, 401, dtype=torch.float64).reshape(-1, *[1] * len(shape)).expand(-1, *shape)
    assert torch.allclose(prior.prob(steps).sum(0), torch.ones(shape, dtype=torch.float64), rtol=1e-6)
    assert (d.lower_tail(prior, 0.01) < d.upper_tail(prior, 0.01)).all()
    assert prior.sample((4,)).shape == (4, *shape)
    assert len(list(prior.parameters())) == 8


def test_a_deep_density_is_the_slope_of_its_cumulative_function_and_draws_from_it() -> None:
    base = deep(d.DeepFactorized, (2,), (3, 3), 3.0)
    y = torch.linspace(-8, 8, 33, dtype=torch.float64)[:, None]
    slope = (base.cdf(y + 1e-6) - base.cdf(y - 1e-6)) / 2e-6
    assert torch.allclose(slope, base.prob(y), rtol=1e-5, atol=1e-8)
    below = base.cdf(base.sample((4000,)))  # uniform, if it draws what it says
    assert torch.allclose(below.mean(0), double([0.5, 0.5]), atol=0.03)
    assert torch.allclose(below.var(0), double([1 / 12, 1 / 12]), atol=0.01)
    assert torch.allclose(base.log_cdf(d.lower_tail(base, 0.01)), double(math.log(0.005)), rtol=1e-5)
    assert torch.equal(base(y), base.log_prob(y))


def test_rounded_densities_stand_still_between_half_integers() -> None:
    prior, base = d.NoisyRoundedNormal(double(0.3), double(1.2)), d.NoisyNormal(double(0.3), double(1.2))
    steps = torch.arange(-5, 6, dtype=torch.float64)
    for shift in (-0.4, 0.0, 0.4):
        assert torch.allclose(prior.prob(steps + shift), base.prob(steps))
    assert d.quantization_offset(prior) == 0
    assert d.lower_tail(prior, 0.1) == torch.floor(d.lower_tail(base, 0.1))
    assert d.upper_tail(prior, 0.1) == torch.ceil(d.upper_tail(base, 0.1))


def test_a_softly_rounded_density_lies_between_the_two() -> None:
    y = torch.linspace(-4, 4, 33, dtype=torch.float64) + 0.03
    plain, hard = d.NoisyNormal(double(0.0), double(1.0)), d.NoisyRoundedNormal(double(0.0), double(1.0))
    for alpha, like in ((1e-4, plain), (300.0, hard)):
        soft = d.NoisySoftRoundedNormal(double(0.0), double(1.0), alpha=alpha)
        assert torch.allclose(soft.prob(y), like.prob(y), atol=0.05)
    assert d.NoisySoftRoundedNormal(0.0, 1.0).base.alpha == 5.0
    drawn = d.NoisySoftRoundedNormal(0.0, 1.0, alpha=50.0).base.sample((100,))
    assert ((drawn - torch.round(drawn)).abs() < 0.1).float().mean() > 0.8


@given(st.sampled_from(sorted(NOISY)), st.floats(-5, 5), st.floats(0.1, 9))
def test_offsets_and_tails(name: str, loc: float, scale: float) -> None:
    prior = noisy(name, loc, scale)
    offset = d.quantization_offset(prior)
    assert -0.5 <= offset <= 0.5
    assert not offset.requires_grad
    assert d.lower_tail(prior, 0.1) < d.upper_tail(prior, 0.1)
    if name in ("logistic", "normal", "laplace"):
        assert torch.allclose(torch.cos(2 * math.pi * (offset - loc)), double(1.0))


def test_helpers_take_any_distribution() -> None:
    class Plain:
        batch_shape = torch.Size((2,))
        base = d.Logistic(double([0.0, 3.0]), double([1.0, 40.0]))
        log_cdf, log_survival_function = base.log_cdf, base.log_survival_function

    assert torch.equal(d.quantization_offset(Plain()), torch.zeros(2))
    assert torch.allclose(d.lower_tail(Plain(), 0.01).double(), d.lower_tail(Plain.base, 0.01), rtol=1e-5)
    assert torch.allclose(d.upper_tail(Plain(), 0.01).double(), d.upper_tail(Plain.base, 0.01), rtol=1e-5)
    gamma = torch.distributions.Gamma(double(9.3), double(1.0))
    assert torch.allclose(d.quantization_offset(gamma), double(0.3))


@given(st.floats(-0.99, 0.99), st.floats(-1e6, 1e6), st.sampled_from([-3.0, -0.01, 0.5, 20.0]))
def test_bisection_finds_what_rises_and_what_falls(target: float, centre: float, slope: float) -> None:
    found = d.estimate_tails(lambda x: torch.tanh((x - centre) * slope), target, (2,), torch.float64)
    assert torch.allclose(torch.tanh((found - centre) * slope), double(target), atol=1e-6)


def test_bisection_names_what_it_cannot_find() -> None:
    for never in (lambda x: x * math.nan, torch.zeros_like, torch.tanh):
        with pytest.raises(InputError, match="does not reach"):
            d.estimate_tails(never, 2.0, (3,))
    for mass in (0.0, 1.0, -1.0, math.nan):
        with pytest.raises(InputError, match="tail_mass"):
            d.lower_tail(d.Normal(0.0, 1.0), mass)


ALPHAS = (1e-4, 0.01, 1.0, 5.0, 30.0, 200.0)


@pytest.mark.parametrize("alpha", ALPHAS)
@given(st.floats(-30, 30))
def test_soft_rounding_and_back(alpha: float, x: float) -> None:
    soft = soft_round(double(x), alpha)
    assert abs(soft - double(x)) <= 0.5 + 1e-9
    if alpha <= 5:
        assert torch.allclose(soft_round_inverse(soft, alpha), double(x), atol=1e-6)
    again = soft_round(soft_round_inverse(double(x), alpha), alpha)
    assert torch.allclose(again, double(x), atol=1e-6)


def test_limits_of_soft_rounding() -> None:
    x = torch.linspace(-3, 3, 62, dtype=torch.float64)
    assert torch.allclose(soft_round(x, 1e-3), x, atol=1e-6)
    assert torch.allclose(soft_round(x, 3000.0), torch.round(x), atol=1e-6)
    assert torch.allclose(soft_round_conditional_mean(x, 1e-3), x, atol=1e-6)
    assert torch.allclose(soft_round_conditional_mean(x, 3000.0), torch.round(x), atol=1e-2)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("function", [soft_round, soft_round_inverse, soft_round_conditional_mean])
def test_soft_rounding_has_finite_gradients(function: Callable[..., Tensor], alpha: float) -> None:
    for dtype in (torch.float32, torch.float64):
        x = torch.arange(-2, 2.25, 0.25, dtype=dtype).requires_grad_()
        function(x, alpha).sum().backward()
        assert x.grad is not None
        assert torch.isfinite(x.grad).all()


def test_gradients_of_soft_rounding_are_the_derivatives() -> None:
    x = double([-1.3, -0.2, 0.2, 0.9]).requires_grad_()
    for function in (soft_round, soft_round_inverse, soft_round_conditional_mean):
        assert torch.autograd.gradcheck(lambda one, function=function: function(one, 5.0), (x,))
    middle = double([0.5, -1.5]).requires_grad_()  # where the distance has a corner
    soft_round_inverse(middle, 5.0).sum().backward()
    assert torch.allclose(middle.grad, double(2 * math.tanh(2.5) / 5.0))  # type: ignore[arg-type]


def test_bounds_and_straight_through_rounding() -> None:
    x = torch.tensor([-2.0, 0.5, 3.0, 3.0], requires_grad=True)
    bounded = lower_bound(upper_bound(x, torch.tensor([1.0, 1.0, 1.0, 4.0])), 0.0)
    assert bounded.tolist() == [0.0, 0.5, 1.0, 3.0]
    (bounded * torch.tensor([-1.0, 1.0, -1.0, 1.0])).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [-1.0, 1.0, 0.0, 1.0]  # raised from below, and not lifted further from above
    y, offset = torch.randn(50, requires_grad=True), torch.tensor(0.3, requires_grad=True)
    rounded = round_st(y, offset)
    rounded.sum().backward()
    assert torch.allclose(rounded, torch.round(y - 0.3) + 0.3)
    assert torch.equal(y.grad, torch.ones(50))  # type: ignore[arg-type]
    assert offset.grad is None
    assert torch.equal(round_st(y.detach()), torch.round(y.detach()))


@settings(max_examples=20)
@given(st.floats(0.5, 20))
def test_perturbed_functions_have_the_gradient_of_their_mean(alpha: float) -> None:
    x = torch.linspace(-2, 2, 9, dtype=torch.float64).requires_grad_()
    gain = double(2.0).requires_grad_()
    value, moved = perturb_and_apply(lambda y, gain: gain * soft_round(y, alpha), x, gain)
    assert torch.allclose(value, gain * soft_round(moved, alpha))
    value.sum().backward()
    assert torch.allclose(x.grad, double(2.0))  # type: ignore[arg-type]
    assert gain.grad is not None
    assert torch.allclose(gain.grad, soft_round(moved, alpha).sum())
    given_noise = torch.full_like(x, 0.25)
    plain, moved = perturb_and_apply(torch.square, x, u=given_noise, expected_grads=False)
    assert torch.equal(moved, x + 0.25)
    (grad,) = torch.autograd.grad(plain.sum(), x)
    assert torch.allclose(grad, 2 * (x + 0.25))
