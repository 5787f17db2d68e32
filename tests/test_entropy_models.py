"""Laws of the densities and of the tables made from them."""

from __future__ import annotations

import copy

import pytest
import torch

from tinify.entropy_models import EntropyBottleneck, GaussianConditional, get_scale_table
from tinify.errors import InputError, TablesMissingError


def trained_bottleneck(channels: int = 6) -> EntropyBottleneck:
    """A factorized prior whose channels differ in place and width."""
    torch.manual_seed(1)
    model = EntropyBottleneck(channels)
    with torch.no_grad():
        for i, bias in enumerate(model.biases):
            bias.add_(torch.randn_like(bias) * (0.5 if i else 2.0))
        for factor in model.factors:
            factor.uniform_(-0.5, 0.5)
    return model.eval()


def entropy_bits(model: EntropyBottleneck, x: torch.Tensor) -> float:
    return -float(torch.log2(model(x)[1]).sum().detach())


def test_likelihoods_of_the_integers_add_up_to_one() -> None:
    model = trained_bottleneck(3)
    grid = torch.arange(-400.0, 401.0).expand(1, 3, -1)
    _, likelihood = model(grid + model.medians[None, :, None])
    torch.testing.assert_close(likelihood.sum(2), torch.ones(1, 3), atol=2e-5, rtol=0)


def test_bisection_finds_tails_and_medians() -> None:
    model = trained_bottleneck()
    model.solve_quantiles()
    logits = model._logits_cumulative(model.quantiles.double())
    torch.testing.assert_close(logits, model.target.double().expand_as(logits), atol=1e-3, rtol=1e-4)
    assert float(model.loss().detach()) < 1e-1


def test_untrained_tables_are_the_fields() -> None:
    model = EntropyBottleneck(2)
    for bias in model.biases:
        torch.nn.init.zeros_(bias)
    model.update()
    tables = model.tables
    assert tables.offsets.tolist() == [-10, -10]
    assert tables.sizes.tolist() == [23, 23]
    assert tables.cdfs[0, :3].tolist() == [0, 1287, 2633]
    assert tables.cdfs[0, 22] == 65536


@pytest.mark.parametrize("size", [(2, 6, 5, 7), (1, 6, 1, 1), (3, 6), (2, 6, 9)])
def test_bottleneck_decodes_what_it_coded(size: tuple[int, ...]) -> None:
    model = trained_bottleneck()
    x = torch.randn(size) * 20
    strings = model.compress(x)
    expected, _ = model(x)
    assert torch.equal(model.decompress(strings, size[2:]), expected)


def test_coded_size_is_the_entropy_and_little_more() -> None:
    torch.manual_seed(0)
    model = trained_bottleneck()
    model.ensure_tables()
    x = torch.randn(1, 6, 64, 64) * 4
    bits = entropy_bits(model, x)
    coded = 8 * len(model.compress(x)[0])
    assert bits * 0.999 - 8 <= coded <= bits * 1.01 + 64 * 8


def test_gaussian_values_and_tables_are_the_fields() -> None:
    model = GaussianConditional(None).eval()
    y = torch.tensor([0.0, 1.0, 2.0]).reshape(1, 1, 1, 3)
    likelihood = model.likelihood(y, torch.ones_like(y))
    torch.testing.assert_close(likelihood.flatten(), torch.tensor([0.382925, 0.241730, 0.060598]), atol=1e-6, rtol=0)
    model.update()
    tables = model.tables
    assert tables.cdfs.shape == (64, 3133)
    assert tables.sizes[:5].tolist() == [5, 5, 5, 5, 7]
    assert tables.sizes[-1] == 3133
    assert tables.cdfs[0, :5].tolist() == [0, 1, 65534, 65535, 65536]
    assert tables.cdfs[10, :9].tolist() == [0, 1, 2, 6036, 59499, 65533, 65534, 65535, 65536]
    assert tables.cdfs[20, 4:9].tolist() == [17, 217, 1717, 8011, 22872]


def test_a_scale_is_rounded_up_to_the_next_entry() -> None:
    model, table = GaussianConditional(None), get_scale_table()
    naive = [int((table[:-1] < s).sum()) for s in (0.0, 0.11, 0.1100001, 0.5, 1.0, 100.0, 256.0, 1e9)]
    scales = torch.tensor([0.0, 0.11, 0.1100001, 0.5, 1.0, 100.0, 256.0, 1e9])
    assert model.build_indexes(scales).tolist() == naive
    assert model.build_indexes(table).tolist() == list(range(64))


@pytest.mark.parametrize("with_means", [False, True])
def test_gaussian_decodes_what_it_coded(with_means: bool) -> None:
    torch.manual_seed(0)
    model = GaussianConditional(None).eval()
    scales = torch.rand(2, 4, 5, 3) * 10
    means = torch.randn(2, 4, 5, 3) if with_means else None
    y = torch.randn(2, 4, 5, 3) * scales * 3
    indexes = model.build_indexes(scales)
    strings = model.compress(y, indexes, means)
    expected, _ = model(y, scales, means)
    assert torch.equal(model.decompress(strings, indexes, means=means), expected)


def test_training_noise_stays_within_half_and_forgets_tables() -> None:
    model = trained_bottleneck()
    model.update()
    model.train()
    x = torch.randn(1, 6, 4, 4)
    noisy, _ = model(x)
    assert float((noisy - x).abs().max().detach()) <= 0.5
    assert not model.has_tables


def test_tables_travel_in_the_state_dict_and_in_copies() -> None:
    model = trained_bottleneck()
    model.update()
    other = EntropyBottleneck(6).eval()
    other.load_state_dict(model.state_dict())
    assert other.tables == model.tables
    assert copy.deepcopy(model).tables.digest == model.tables.digest
    other.load_state_dict(EntropyBottleneck(6).state_dict())
    assert not other.has_tables


def test_decoding_without_tables_says_what_to_do() -> None:
    with pytest.raises(TablesMissingError, match="load a checkpoint"):
        EntropyBottleneck(4).decompress([b""], (1, 1))


def test_bad_inputs_are_named() -> None:
    model = GaussianConditional(None)
    with pytest.raises(InputError, match="NaN"):
        model.compress(torch.full((1, 1, 1, 1), torch.nan), torch.zeros(1, 1, 1, 1, dtype=torch.int32))
    with pytest.raises(InputError, match="must agree"):
        model.compress(torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1, 2, dtype=torch.int32))
    with pytest.raises(InputError, match="unknown quantisation mode 'no'"):
        model.quantize(torch.zeros(1), "no")
    with pytest.raises(InputError, match="scale_table"):
        GaussianConditional([2.0, 1.0])
