"""Laws of the Gaussian mixture: its density, its strings, and its place in a latent codec."""

from __future__ import annotations

import copy
import itertools
import math

import numpy as np
import pytest
import torch
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor, nn

import tinify
from tinify.ans import RansEncoder
from tinify.coders.compat import CompatCoder
from tinify.coders.range_coder import RangeCoder
from tinify.entropy_models import GaussianConditional, GaussianMixtureConditional
from tinify.entropy_models.mixture_compat import mixture_rows
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
        mixture(y, scales, means, torch.ones(size))[1], gaussian.bounded(gaussian.likelihood(y, scales, means))
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


def compat(K: int) -> GaussianMixtureConditional:
    """A mixture that writes CompressAI's strings."""
    model = GaussianMixtureConditional(K)
    model.coder = CompatCoder()
    return model


def readable_row(abs_max: int, scales: list[float], means: list[float], weights: list[float]) -> list[int]:
    """The row of one mixture, as the format's description says it."""
    f, total = np.float32, [np.float32(0)] * (2 * abs_max + 1)

    def below(v: float, scale: float, mean: float) -> np.float32:
        width = f(min(max(f(scale), f(0.11)), f(256))) * f(math.sqrt(2))
        return f(0.5) * (f(1) + f(torch.erf(torch.tensor((f(v) - (f(mean) + f(abs_max))) / width))))

    for scale, mean, weight in zip(scales, means, weights, strict=True):
        for v in range(2 * abs_max + 1):
            total[v] += f(weight) * (below(v + 0.5, scale, mean) - below(v - 0.5, scale, mean))
    counts = [f(round(max(p, f(1 / 65535)) * f(65535))) for p in total]
    ends = np.cumsum([float(count * f(65535) / f(sum(counts))) for count in counts]).astype(f).astype(int).tolist()
    widths = [end - start for start, end in itertools.pairwise([0, *ends])]
    wanted = widths.count(0)
    donor = min((v for v, width in enumerate(widths) if width > wanted), key=lambda v: widths[v])
    widths[donor] -= wanted
    return [0, *itertools.accumulate(max(1, width) for width in widths), 65536]


@given(st.integers(1, 40), st.integers(1, 4), st.integers(0, 2**31), st.sampled_from([0.02, 0.3, 3.0, 60.0]))
def test_rows_are_those_of_the_description(abs_max: int, K: int, seed: int, width: float) -> None:
    params = [one.reshape(K, 3) for one in parameters((1, 1, 3), K, seed, width)]
    expected = [readable_row(abs_max, *(one[:, n].tolist() for one in params)) for n in range(3)]
    assert mixture_rows(abs_max, *params).tolist() == expected


@given(
    st.tuples(st.integers(0, 2), st.integers(1, 4), st.integers(0, 3), st.integers(1, 5)),
    st.integers(1, 5),
    st.integers(0, 2**31),
    st.sampled_from([0.05, 1.0, 9.0]),
)
@example((1, 3, 3, 3), 3, 0, 0.0)
@example((1, 24, 20, 20), 2, 0, 2.0)
@example((1, 2, 3, 3), 2, 0, 120.0)
def test_compat_strings_are_of_rows_for_each_element(size: tuple[int, ...], K: int, seed: int, width: float) -> None:
    params = parameters(size, K, seed, width)
    y = sample(size, params, K, seed).clamp(-600, 600)
    y[:, 1:2] = 0.2
    (string, abs_max, bitmap), y_hat = compat(K).compress(y, *params)
    assert torch.equal(compat(K).decompress(string, abs_max, bitmap.tolist(), *params), y_hat)
    assert torch.equal(compat(K).decompress(string, torch.tensor(abs_max), bitmap, *params), y_hat)
    coded = bitmap > 0
    if not coded.any():
        assert (string, abs_max) == (b"", 1)
        return
    apart = [one.unflatten(1, (K, -1))[:, :, coded].transpose(0, 1).flatten(1) for one in params]
    symbols = (y_hat[:, coded].flatten().int() + abs_max).tolist()
    count, rows = len(symbols), mixture_rows(abs_max, *apart)
    sizes, offsets = [2 * abs_max + 3] * count, [0] * count
    expected = RansEncoder().encode_with_indexes(symbols, list(range(count)), rows.tolist(), sizes, offsets)
    assert string == expected


def test_compat_has_no_string_for_zeros() -> None:
    size = (1, 3, 4, 4)
    params = parameters(size, 3)
    (string, abs_max, bitmap), y_hat = compat(3).compress(0.4 * torch.ones(size), *params)
    assert (string, abs_max, bitmap.tolist()) == (b"", 1, [0, 0, 0])
    for empty in b"", bytes.fromhex("0000008000000000"):
        assert torch.equal(compat(3).decompress(empty, abs_max, bitmap, *params), y_hat)


def test_compat_leaves_other_strings_alone() -> None:
    size = (2, 3, 2, 2)
    params = parameters(size, 2)
    symbols = sample(size, params, 2).round().int()
    assert compat(2).encode(symbols, *params) == GaussianMixtureConditional(2).encode(symbols, *params)


def test_compat_is_the_default_if_chosen() -> None:
    size = (1, 3, 2, 2)
    params = parameters(size, 2)
    y = sample(size, params, 2) + 2
    tinify.set_entropy_coder("compat")
    try:
        chosen = GaussianMixtureConditional(2).compress(y, *params)[0][0]
    finally:
        tinify.set_entropy_coder("ans")
    assert chosen == compat(2).compress(y, *params)[0][0] != GaussianMixtureConditional(2).compress(y, *params)[0][0]


def test_compat_names_damage_and_bad_input() -> None:
    model, size = compat(3), (1, 4, 8, 8)
    params = parameters(size, 3)
    y = sample(size, params, 3)
    (string, abs_max, bitmap), _ = model.compress(y, *params)
    for wrong in (b"", string[:-4], string[:-1], string + bytes(4), b"\xff" * len(string)):
        with pytest.raises(CorruptStreamError, match=f"a string of {len(wrong)} bytes is damaged"):
            model.decompress(wrong, abs_max, bitmap, *params)
    for value in (0, -1, True, 1.5, None, "3"):
        with pytest.raises(InputError, match="whole number from 1"):
            model.decompress(string, value, bitmap, *params)
    for other in ([1, 1, 1], [1, 1, 1, 2], None, "1111", [1, 1, 1, torch.nan]):
        with pytest.raises(InputError, match="a 0 or a 1 for each of 4 channels"):
            model.decompress(string, abs_max, other, *params)
    with pytest.raises(InputError, match="expected bytes"):
        model.decompress([string], abs_max, bitmap, *params)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="add up to one"):
        model.compress(y, *params[:2], 2 * params[2])
    with pytest.raises(InputError, match="means of a mixture are NaN"):
        model.decompress(string, abs_max, bitmap, params[0], params[1] * torch.nan, params[2])
    with pytest.raises(InputError, match="no room for as many symbols"):
        model.compress(y + 40000, *params)
    with pytest.raises(InputError, match=r"abs_max 3001: .* no room"):
        model.compress(torch.full(size, 3000.0), params[0].clamp(200, 200), 0 * params[1], params[2])


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


def test_weights_are_for_mixtures() -> None:
    y, side, chunks = torch.zeros(1, 4, 2, 2), torch.zeros(1, 36, 2, 2), ("scales", "means", "weights")
    plain = GaussianConditionalLatentCodec(gaussian_conditional=GaussianConditional(None), chunks=chunks).eval()
    uneven = GaussianConditionalLatentCodec(gaussian_conditional=GaussianMixtureConditional(3), chunks=chunks).eval()
    for call in plain.compress, plain:
        with pytest.raises(InputError, match=r"have weights, .* but the entropy model is GaussianConditional: take"):
            call(y, side)
    with pytest.raises(InputError, match=r"34 predicted channels: .* each of the chunks .* and of 3 components"):
        uneven.compress(y, side[:, :34])


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
