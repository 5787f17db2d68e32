"""Laws of the Gaussian mixture: its density, its strings, and its place in a latent codec."""

from __future__ import annotations

import copy

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tinify.coders.range_coder import RangeCoder
from tinify.entropy_models import GaussianConditional, GaussianMixtureConditional
from tinify.errors import CorruptStreamError, InputError
from tinify.latent_codecs import GaussianConditionalLatentCodec
from tinify.models import build_part
from tinify.plugin import Sig


def parameters(size: tuple[int, ...], K: int, seed: int = 0, width: float = 1.0) -> list[Tensor]:
    """Scales around ``width``, means and weights, as a network predicts them."""
    generator = torch.Generator().manual_seed(seed)
    batch, channels, *rest = size
    full = (batch, K, channels, *rest)
    scales = width * torch.randn(full, generator=generator).exp()
    means = 3 * width * torch.randn(full, generator=generator)
    weights = (2 * torch.randn(full, generator=generator)).softmax(1)
    return [one.flatten(1, 2) for one in (scales, means, weights)]


def sample(size: tuple[int, ...], params: list[Tensor], K: int, seed: int = 0) -> Tensor:
    """A latent drawn from the mixture."""
    torch.manual_seed(seed)
    scales, means, weights = (one.unflatten(1, (K, -1)) for one in params)
    chosen = (weights.cumsum(1) < torch.rand(size)[:, None]).sum(1, keepdim=True).clamp(max=K - 1)
    return means.gather(1, chosen)[:, 0] + scales.gather(1, chosen)[:, 0] * torch.randn(size)


def test_likelihoods_of_the_integers_add_up_to_one() -> None:
    model = GaussianMixtureConditional(3).eval()
    params = [one.expand(401, -1, -1, -1) for one in parameters((1, 4, 2, 3), 3)]
    y = torch.arange(-200.0, 201.0)[:, None, None, None].expand(-1, 4, 2, 3)
    torch.testing.assert_close(model(y, *params)[1].sum(0), torch.ones(4, 2, 3), atol=1e-5, rtol=0)


def test_likelihood_is_the_weighted_sum_of_gaussians() -> None:
    size = (2, 5, 3, 4)
    scales, means, weights = parameters(size, 4)
    y, plain = torch.randn(size) * 5, GaussianConditional(None, likelihood_bound=0)
    y_hat, likelihood = GaussianMixtureConditional(4, likelihood_bound=0).eval()(y, scales, means, weights)
    assert torch.equal(y_hat, y.round())
    expected = sum(
        weights[:, 5 * k : 5 * k + 5]
        * plain.likelihood(y_hat, scales[:, 5 * k : 5 * k + 5], means[:, 5 * k : 5 * k + 5])
        for k in range(4)
    )
    torch.testing.assert_close(likelihood, expected)


def test_one_component_is_the_gaussian() -> None:
    size = (1, 3, 4, 4)
    scales, means, _ = parameters(size, 1)
    y = sample(size, [scales, means, torch.ones(size)], 1).round()
    mixture, gaussian = GaussianMixtureConditional(1).eval(), GaussianConditional(None).eval()
    torch.testing.assert_close(
        mixture(y, scales, means, torch.ones(size))[1], gaussian._bounded(gaussian.likelihood(y, scales, means))
    )


def test_training_adds_noise_and_every_parameter_has_a_gradient() -> None:
    size = (1, 2, 3, 3)
    y, params = torch.zeros(size, requires_grad=True), [one.requires_grad_() for one in parameters(size, 3)]
    y_hat, likelihood = GaussianMixtureConditional(3).train()(y, *params)
    assert ((y_hat - y).abs() <= 0.5).all()
    assert (y_hat != y).any()
    grads = torch.autograd.grad(-likelihood.log().sum(), [y, *params])
    assert all(torch.isfinite(grad).all() and (grad != 0).any() for grad in grads)


@given(
    st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(0, 3), st.integers(1, 5)),
    st.integers(1, 5),
    st.integers(0, 2**31),
    st.sampled_from([0.01, 1.0, 300.0]),
)
def test_what_is_coded_is_decoded(size: tuple[int, ...], K: int, seed: int, width: float) -> None:
    model = GaussianMixtureConditional(K)
    params = parameters(size, K, seed, width)
    symbols = sample(size, params, K, seed).round().int()
    symbols.view(-1)[:1] = 2**31 - 1
    strings = model.encode(symbols, *params)
    assert len(strings) == size[0]
    decoded = model.decode(strings, torch.Size(size), *params)
    assert decoded.dtype == torch.int32
    assert torch.equal(decoded, symbols)


@given(st.integers(1, 4), st.integers(0, 99))
def test_parts_are_written_and_read(items: int, seed: int) -> None:
    model, writer, size = GaussianMixtureConditional(2), None, (items, 3, 4)
    writer = model.writer()
    parts = [parameters(size, 2, seed + step) for step in range(3)]
    symbols = [sample(size, params, 2, seed).round().int() for params in parts]
    for part, params in zip(symbols, parts, strict=True):
        writer.write(part, *params)
    reader = model.reader(writer.finish(), 3 * items * 12)
    for part, params in zip(symbols, parts, strict=True):
        assert torch.equal(reader.read(*params), part)
    reader.finish()


def test_a_part_alone_is_the_string_of_encode() -> None:
    model, size = GaussianMixtureConditional(3), (1, 4, 5, 6)
    params = parameters(size, 3)
    symbols = sample(size, params, 3).round().int()
    writer = model.writer()
    writer.write(symbols, *params)
    assert writer.finish() == model.encode(symbols, *params)[0]


@pytest.mark.parametrize("width", [0.05, 0.2, 1.0, 5.0, 40.0])
def test_strings_cost_what_the_likelihoods_say(width: float) -> None:
    model, size = GaussianMixtureConditional(3, likelihood_bound=0).eval(), (1, 16, 48, 64)
    params = parameters(size, 3, width=width)
    params[0] = params[0].clamp(0.11, 256)
    y = sample(size, params, 3).round()
    expected = -float(torch.log2(model(y, *params)[1].double()).sum()) / 8
    coded = sum(map(len, model.encode(y.int(), *params)))
    assert abs(coded - expected) <= 0.003 * expected + 8


def test_other_coders_change_nothing() -> None:
    model, size = GaussianMixtureConditional(2), (1, 3, 2, 2)
    params = parameters(size, 2)
    before = model.encode(torch.ones(size).int(), *params)
    model.coder = RangeCoder()
    assert model.encode(torch.ones(size).int(), *params) == before


def test_the_scale_is_the_nearest_of_the_table() -> None:
    model = GaussianMixtureConditional(1, [1.0, 4.0, 16.0], scale_bound=0.5)
    scales = torch.tensor([0.01, 1.9, 2.0, 2.1, 7.9, 8.1, 1e9]).reshape(1, -1)
    rows, _, _ = model._integers((scales, torch.zeros_like(scales), torch.ones_like(scales)))
    assert rows.tolist() == [[[0, 0, 0, 1, 1, 2, 2]]]


def test_a_state_dict_makes_the_same_strings() -> None:
    size = (1, 3, 4, 4)
    one, other = GaussianMixtureConditional(3, [0.5, 1.0, 7.0]), GaussianMixtureConditional(3, [1.0, 2.0, 3.0])
    one.update()
    params = parameters(size, 3)
    symbols = sample(size, params, 3).round().int()
    assert other.encode(symbols, *params) != one.encode(symbols, *params)
    other.load_state_dict(one.state_dict())
    assert other.encode(symbols, *params) == one.encode(symbols, *params) == copy.deepcopy(one).encode(symbols, *params)
    assert other.tables == one.tables


@pytest.mark.parametrize("size", [(1, 4, 5, 3), (3, 2, 4, 4), (1, 2, 0, 3)])
def test_the_fields_own_calls(size: tuple[int, ...]) -> None:
    model = GaussianMixtureConditional(K=3)
    params = parameters(size, 3)
    y = sample(size, params, 3)
    y[:, 1] = 0.2
    (string, abs_max, zero_bitmap), y_hat = model.compress(y, *params)
    assert isinstance(string, bytes)
    assert torch.equal(y_hat, y.round())
    assert abs_max == max([1, *(1 + int(one) for one in y.abs().flatten())])
    assert zero_bitmap.tolist() == [int((y_hat[:, channel] != 0).any()) for channel in range(size[1])]
    assert torch.equal(model.decompress(string, abs_max, zero_bitmap, *params), y_hat)


def test_a_latent_of_zeros() -> None:
    size = (1, 3, 4, 4)
    params = parameters(size, 3)
    (string, abs_max, zero_bitmap), y_hat = GaussianMixtureConditional(3).compress(torch.zeros(size), *params)
    assert (abs_max, zero_bitmap.tolist()) == (1, [0, 0, 0])
    assert torch.equal(GaussianMixtureConditional(3).decompress(string, abs_max, zero_bitmap, *params), y_hat)


@pytest.mark.parametrize("size", [(1, 4, 3, 5), (2, 4, 1, 1)])
def test_inside_a_latent_codec(size: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    batch, channels, *rest = size
    codec = GaussianConditionalLatentCodec(
        gaussian_conditional=GaussianMixtureConditional(3),
        entropy_parameters=nn.Conv2d(6, 9 * channels, 1),
        chunks=("scales", "means", "weights"),
        scale_link="softplus",
    ).eval()
    y, side = 3 * torch.randn(size), torch.randn(batch, 6, *rest)
    coded = codec.compress(y, side)
    assert torch.equal(codec(y, side)["y_hat"], coded["y_hat"])
    assert torch.equal(codec.decompress(coded["strings"], coded["shape"], side)["y_hat"], coded["y_hat"])


SERIAL = """
type: raster_scan
context_prediction: {type: masked_conv, out: 8, kernel: 5, mask: A}
entropy_parameters: [{type: conv, out: 9 * 4, kernel: 1, stride: 1}]
chunks: [scales, means, weights]
scale_link: softplus
gaussian_conditional: gaussian_mixture
"""
TWO_PASSES = """
type: checkerboard
context_prediction: {type: checkerboard_conv, out: 8, kernel: 5}
entropy_parameters: [{type: conv, out: 9 * 4, kernel: 1, stride: 1}]
y:
  type: gaussian_conditional
  chunks: [weights, means, scales]
  scale_link: softplus
  gaussian_conditional: {type: gaussian_mixture, components: 3}
"""


@pytest.mark.parametrize("description", [SERIAL, TWO_PASSES])
def test_in_codecs_with_a_context(description: str) -> None:
    torch.manual_seed(1)
    codec = build_part("latent_codec", yaml.safe_load(description), Sig(4), Sig(6)).eval()
    y, side = 3 * torch.randn(2, 4, 5, 7), torch.randn(2, 6, 5, 7)
    coded = codec.compress(y, side)
    assert torch.equal(codec.decompress(coded["strings"], coded["shape"], side)["y_hat"], coded["y_hat"])
    assert torch.equal(coded["y_hat"], y.round())


def test_damage_is_named() -> None:
    model, size = GaussianMixtureConditional(3), torch.Size((1, 8, 8, 8))
    params = parameters(size, 3)
    string = model.encode(sample(size, params, 3).round().int(), *params)[0]
    for wrong in (string[:-9], b"\0" + string, string + b"1"):
        with pytest.raises(CorruptStreamError, match="a mixture's string of"):
            model.decode([wrong], size, *params)


def test_bad_input_is_named() -> None:
    model, size = GaussianMixtureConditional(3), (1, 2, 2, 2)
    scales, means, weights = parameters(size, 3)
    y = torch.zeros(size)
    for K in (0, 65, 1.5, True):
        with pytest.raises(InputError, match="number of components"):
            GaussianMixtureConditional(K)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"parameters of size \(1, 6, 2, 2\).* for a tensor of \(1, 3, 2, 2\)"):
        model(torch.zeros(1, 3, 2, 2), scales, means, weights)
    with pytest.raises(InputError, match="with 3 channels for each"):
        model.encode(y.int(), scales, means[:, :4], weights)
    with pytest.raises(InputError, match="expected scales, means and weights"):
        model.size(scales, means)
    with pytest.raises(InputError, match="add up to"):
        model.encode(y.int(), scales, means, 2 * weights)
    for place, name in enumerate(("scales", "means", "weights")):
        wrong = [scales, means, weights]
        wrong[place] = wrong[place] * torch.nan
        with pytest.raises(InputError, match=f"{name} of a mixture are NaN"):
            model.encode(y.int(), *wrong)
    with pytest.raises(InputError, match="NaN or infinite elements"):
        model.compress(y * torch.nan, scales, means, weights)
    with pytest.raises(InputError, match="list of 1 strings"):
        model.decode([b"", b""], y.shape, scales, means, weights)
    with pytest.raises(InputError, match="coded without tables"):
        model.indexes(y.shape, scales, means, weights)
