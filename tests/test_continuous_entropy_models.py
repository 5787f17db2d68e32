"""Entropy models over distributions: round trips, bounds on bits and bytes, tables that outlive their prior."""

from __future__ import annotations

import math
import os
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tinify import distributions as d
from tinify.coders.range_coder import RangeCoder
from tinify.coders.rans import RansCoder
from tinify.entropy_models import (
    ContinuousBatchedEntropyModel,
    LogisticPrior,
)
from tinify.errors import CorruptStreamError, InputError, TablesMissingError


def logistic(shape: tuple[int, ...] = (), loc: float = 0.0, scale: float = 1.0) -> d.NoisyLogistic:
    return d.NoisyLogistic(torch.full(shape, loc), torch.full(shape, scale))


def batched(shape: tuple[int, ...] = (), rank: int = 1, loc: float = 0.0, **options: Any) -> Any:
    return ContinuousBatchedEntropyModel(logistic(shape, loc), rank, compression=True, **options)


def total(strings: Any) -> int:
    """Bytes of nested lists."""
    return len(strings) if isinstance(strings, bytes) else sum(map(total, strings))


@st.composite
def units(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Axes of the batch, of what is broadcast, and of the prior; some of them empty."""
    sizes = st.lists(st.integers(0, 3), max_size=2).map(tuple)
    return draw(sizes), draw(sizes), draw(st.lists(st.integers(1, 3), max_size=1).map(tuple))


@given(units(), st.floats(-3, 3), st.sampled_from([0.3, 5.0, 1e5]), st.integers(0, 99))
def test_what_is_compressed_is_decompressed(sizes: Any, loc: float, spread: float, seed: int) -> None:
    batch, broadcast, shape = sizes
    torch.manual_seed(seed)
    model = batched(shape, len(broadcast) + len(shape), loc)
    y = spread * torch.randn(batch + broadcast + shape)  # from what is likely to nothing but escapes
    strings = model.compress(y)
    decoded = model.decompress(strings, broadcast)
    if 0 not in batch:  # whose sizes behind the 0 no list can hold
        assert decoded.shape == y.shape
        assert torch.equal(decoded, model.quantize(y))
        assert torch.equal(decoded, model(y, training=False)[0])
        assert model(y, training=False)[1].shape == batch
    assert decoded.numel() == y.numel()


@pytest.mark.parametrize("value", [0.0, -2147483000.0, 2147483520.0])
def test_any_int32_is_coded(value: float) -> None:
    model = batched((2,))
    y = torch.tensor([value, 1.0])
    assert torch.equal(model.decompress(model.compress(y), ()), y)


@pytest.mark.parametrize("rank", [0, 1, 2, 3])
def test_a_string_for_each_coding_unit(rank: int) -> None:
    model, y = batched((), rank), torch.randn(2, 3, 4)
    assert not model(y)[0].isnan().any()
    depth, strings = 0, model.compress(y)
    while not isinstance(strings, bytes):
        assert len(strings) == y.shape[depth]
        strings, depth = strings[0], depth + 1
    assert depth == 3 - rank
    assert model(y)[1].shape == y.shape[: 3 - rank]


@settings(max_examples=15, deadline=None)
@given(st.integers(-2, 7), st.integers(0, 99))
def test_information_bounds_of_the_batched_model(power: int, seed: int) -> None:
    torch.manual_seed(seed)
    scale = 2.0**power
    base = d.NoisyNormal(torch.tensor(0.5), torch.tensor(scale))  # whose centre only the offset finds
    model = ContinuousBatchedEntropyModel(base, 1, compression=True)
    x = 0.5 + scale * torch.randn(40_000)
    loose, tight = model(x, training=True)[1].item(), model(x, training=False)[1].item()
    coded = 8 * total(model.compress(x))
    assert loose > 0.99 * tight  # of other noise than the mean
    assert 0.999 * tight < coded <= 1.005 * tight + 16
    if power <= -2:
        assert 1.01 * tight < loose < 2.25 * tight
    if power >= 6:
        assert math.isclose(loose, tight, rel_tol=1e-3)


@pytest.mark.parametrize(("scale", "most"), [(0.2, 1.0), (0.5, 1.0), (1.0, 1.0), (8.0, 1.0)])
def test_short_strings_cost_half_a_byte_above_their_information(scale: float, most: float) -> None:
    torch.manual_seed(0)
    prior = logistic((50,), scale=scale)
    model = ContinuousBatchedEntropyModel(prior, 1, compression=True)
    y = prior.base.sample((2000,))
    strings, bits = model.compress(y), model(y, training=False)[1]
    above = torch.tensor([8.0 * len(string) for string in strings]) - bits
    assert 0 < above.mean() / 8 < most


def test_densities_that_are_nearly_sure_cost_nearly_nothing() -> None:
    model = ContinuousBatchedEntropyModel(logistic((16,), scale=1e-4), 2, compression=True)
    assert len(model.compress(torch.zeros(1000, 16))) <= 2
    assert model.tables.cdfs.shape[1] <= 6


def test_bits_of_a_latent_that_rounds_to_zero_are_known() -> None:
    for length, bits in ((10, 20.296253), (50, 101.48127)):
        model = ContinuousBatchedEntropyModel(logistic((length,)), 1)
        y_hat, got = model.eval()(0.49 * torch.ones(3, length))
        assert torch.equal(y_hat, torch.zeros(3, length))
        assert torch.allclose(got, torch.full((3,), bits))
    torch.manual_seed(0)
    noisy = ContinuousBatchedEntropyModel(logistic((10,)), 1)(torch.zeros(20000, 10), training=True)[1]
    assert abs(noisy.mean() - 20.577) < 0.02
    spread = d.NoisyLogistic(0.0, torch.linspace(0.01, 2, 10))
    assert abs(ContinuousBatchedEntropyModel(spread, 1)(torch.zeros(20000, 10))[1].mean() - 18.33) < 0.02


@pytest.mark.parametrize("expected", [False, True])
def test_everything_learns(expected: bool) -> None:
    scales = nn.Parameter(torch.ones(5))
    model = ContinuousBatchedEntropyModel(lambda: d.NoisyLogistic(0.0, torch.exp(scales)), 1, expected_grads=expected)
    y = torch.randn(7, 5, requires_grad=True)
    model(y)[1].sum().backward()
    for one in (y, scales):
        assert one.grad is not None
        assert torch.isfinite(one.grad).all()
        assert one.grad.abs().sum() > 0
    y.grad = None
    model.quantize(y).sum().backward()
    assert torch.equal(y.grad, torch.ones_like(y))


def test_a_prior_of_parameters_learns_to_fit() -> None:
    torch.manual_seed(0)
    scale = nn.Parameter(torch.tensor([1.0, 1.0]))
    model = ContinuousBatchedEntropyModel(d.NoisyLogistic(torch.zeros(2), scale), 1)
    optimizer = torch.optim.Adam([scale], 0.1)
    y = d.Logistic(0.0, torch.tensor([3.0, 0.5])).sample((4000,))
    for _ in range(100):
        optimizer.zero_grad()
        model(y)[1].mean().backward()
        optimizer.step()
    assert torch.allclose(scale, torch.tensor([3.0, 0.5]), rtol=0.1)


def test_a_deep_prior_is_part_of_the_model() -> None:
    torch.manual_seed(0)
    model = ContinuousBatchedEntropyModel(d.NoisyDeepFactorized((4,)), 3, compression=True)
    assert len(list(model.parameters())) == 8
    y = 5 * torch.randn(2, 3, 6, 4)
    assert torch.equal(model.decompress(model.compress(y), (3, 6)), model.quantize(y))
    model(y)[1].sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_half_precision_latents() -> None:
    y_hat, bits = batched((3,))(torch.randn(4, 3).half())
    assert (y_hat.dtype, bits.dtype) == (torch.float16, torch.float32)


@pytest.mark.parametrize("power", [1, 3, 6])
def test_a_laplace_tail_keeps_bits_of_outliers_finite(power: int) -> None:
    x = torch.tensor([[10.0**power]], requires_grad=True)
    narrow = d.NoisyNormal(torch.zeros(1), torch.tensor(1e-6))
    model = ContinuousBatchedEntropyModel(narrow, 1, laplace_tail_mass=1e-3)
    bits = model(x, training=False)[1]
    bits.sum().backward()
    assert abs(bits.item() * math.log(2) / 10.0**power - 1) < 0.9
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
    usual = torch.randn(100, 1)
    plain = ContinuousBatchedEntropyModel(logistic((1,)), 1)
    mixed = ContinuousBatchedEntropyModel(logistic((1,)), 1, laplace_tail_mass=1e-3)
    assert torch.allclose(plain.eval()(usual)[1], mixed.eval()(usual)[1], atol=2e-3)


def test_offsets() -> None:
    y = torch.tensor([0.1, 0.3, 0.7])
    assert batched((3,), loc=0.25).quantize(y).tolist() == [0.25, 0.25, 0.25]
    assert batched((3,), loc=0.25, offset_heuristic=False).quantize(y).tolist() == [0.0, 0.0, 1.0]
    assert batched((3,), loc=0.25, quantization_offset=0.5).quantize(y).tolist() == [0.5, 0.5, 0.5]
    moving = nn.Parameter(torch.full((3,), 0.25))
    uncoded = ContinuousBatchedEntropyModel(lambda: d.NoisyLogistic(moving, 1.0), 1)
    coded = ContinuousBatchedEntropyModel(lambda: d.NoisyLogistic(moving, 1.0), 1, compression=True)
    with torch.no_grad():
        moving.fill_(-0.125)
    assert torch.allclose(uncoded.quantize(y), torch.tensor([-0.125, -0.125, 0.875]))
    assert coded.quantize(y).tolist() == [0.25, 0.25, 0.25]  # what the tables were made for
    coded.update(force=True)
    assert torch.equal(coded.quantize(y), uncoded.quantize(y))


def test_tables_outlive_their_prior() -> None:
    one = batched((3,), loc=0.3)
    y, state = 4 * torch.randn(5, 3), one.state_dict()
    strings = one.compress(y)
    decoder = ContinuousBatchedEntropyModel(coding_rank=1, prior_shape=(3,))
    decoder.load_state_dict(state)
    assert torch.equal(decoder.decompress(strings, ()), one.quantize(y))
    assert decoder.compress(y) == strings
    with pytest.raises(InputError, match="no prior, only tables"):
        decoder(y)
    other = ContinuousBatchedEntropyModel(logistic((3,), scale=40.0), 1, compression=True)  # wider tables
    other.load_state_dict(state)
    other.train()(y)
    assert other.tables == one.tables
    assert other.compress(y) == strings


def test_random_bytes_are_messages_if_asked() -> None:
    model = batched((50,), decode_sanity_check=False)
    strings = [os.urandom(8) for _ in range(200)] + [b"", b"\0", b"\xff" * 40]
    drawn = model.decompress(strings, ())
    assert drawn.shape == (203, 50)
    usual = drawn[:200, :15][drawn[:200, :15].abs() < 12]  # no escapes, which may be anything
    assert usual.numel() > 2900
    assert (usual.var() / (math.pi**2 / 3) - 1).abs() < 0.25  # they are drawn from the prior
    y = torch.randn(10, 50)
    assert torch.equal(model.decompress(model.compress(y), ()), model.quantize(y))
    coarse = ContinuousBatchedEntropyModel(logistic((7,), scale=900.0), 1, compression=True, decode_sanity_check=False)
    assert torch.isfinite(coarse.decompress([os.urandom(30) for _ in range(300)], ())).all()
    with pytest.raises(CorruptStreamError):
        batched((50,)).decompress([b"\xff" * 40], ())
    model.coder = RansCoder()
    with pytest.raises(InputError, match="for the range coder alone"):
        model.decompress(strings, ())


def test_other_coders() -> None:
    model, y = batched((50,)), torch.randn(20, 50)
    short = model.compress(y)
    model.coder = RansCoder()
    strings = model.compress(y)
    assert torch.equal(model.decompress(strings, ()), torch.round(y))
    assert total(strings) > total(short)
    model.coder = RangeCoder()
    assert model.compress(y) == short


def test_the_logistic_prior_says_what_the_batched_model_says() -> None:
    torch.manual_seed(0)
    prior = LogisticPrior(6, likelihood_bound=0).eval()
    with torch.no_grad():
        prior.log_scales.normal_()
    model = ContinuousBatchedEntropyModel(prior.prior, 1, compression=True, tail_mass=prior.tail_mass)
    y = 3 * torch.randn(4, 6)
    y_hat, likelihood = prior(y[..., None, None])
    assert torch.equal(y_hat[..., 0, 0], model(y, training=False)[0])
    assert torch.allclose(-torch.log2(likelihood).flatten(1).sum(1), model(y, training=False)[1], rtol=1e-5)
    prior.update()
    assert prior.tables == model.tables
    assert not list(model.parameters())


def test_what_cannot_be_is_named() -> None:
    y = torch.zeros(2, 3)
    with pytest.raises(TablesMissingError, match="compression=True"):
        ContinuousBatchedEntropyModel(logistic((3,)), 1).compress(y)
    with pytest.raises(TablesMissingError, match="compression=True"):
        ContinuousBatchedEntropyModel(logistic((3,)), 1).decompress([b""], ())
    with pytest.raises(InputError, match="no more axes than make a string"):
        ContinuousBatchedEntropyModel(logistic((3, 2)), 1)
    with pytest.raises(InputError, match="events of shape"):
        ContinuousBatchedEntropyModel(torch.distributions.MultivariateNormal(torch.zeros(2), torch.eye(2)), 1)
    with pytest.raises(InputError, match="one of the two"):
        ContinuousBatchedEntropyModel(coding_rank=1)
    for options in ({"tail_mass": 0.0}, {"tail_mass": 1.0}, {"laplace_tail_mass": 1.0}):
        with pytest.raises(InputError, match="expected a probability"):
            ContinuousBatchedEntropyModel(logistic((3,)), 1, **options)
    for rank in (-1, 1.0, True):
        with pytest.raises(InputError, match="coding_rank"):
            ContinuousBatchedEntropyModel(logistic(), rank)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="tails of the prior are not finite"):
        ContinuousBatchedEntropyModel(logistic((3,), scale=1e12), 1, compression=True)


def test_wrong_latents_strings_and_shapes_are_named() -> None:
    model, strings = batched((3,), 2), [b"", b""]
    for y in (torch.zeros(2, 4), torch.zeros(3), torch.zeros(2, 3, dtype=torch.int32)):
        with pytest.raises(InputError, match=r"expected"):
            model.compress(y)
    for value in (math.nan, math.inf, 1e12):
        with pytest.raises(InputError, match="NaN, or too large"):
            model.compress(torch.full((4, 2, 3), value))
    for shape in ((), (1, 2), (-1,)):
        with pytest.raises(InputError, match="broadcast_shape"):
            model.decompress(strings, shape)
    for wrong in ([b"", [b""]], [[b"", b""], [b""]], [1, 2], "abc", None):
        with pytest.raises(InputError, match="strings"):
            model.decompress(wrong, (1,))
