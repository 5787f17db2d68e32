"""From modules back to specs, and models put together from one's own modules without any."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import tinify.registry
from tinify import builder as b
from tinify.coders import CdfTables
from tinify.entropy_models import EntropyBottleneck, GaussianConditional
from tinify.errors import InputError, SpecError
from tinify.latent_codecs import (
    Decode,
    Encode,
    Estimate,
    GaussianConditionalLatentCodec,
    HyperLatentCodec,
    HyperpriorLatentCodec,
    LatentCodec,
    Stream,
)
from tinify.models import Autoencoder, CompressionModel, build_model, build_part, create_model
from tinify.plugin import Sig, Slot, component
from tinify.registry import Registry, get_registry
from tinify.spec import Spec
from tinify.training.config import TrainingConfig
from tinify.training.criterion import Criterion

SMALL = {"N": 8, "M": 8}
PART = {"type": "conv", "out": 8, "kernel": 3, "stride": 1}


@pytest.mark.parametrize("name", sorted(get_registry().spec_files()))
def test_a_model_gives_its_spec_back(name: str) -> None:
    sizes = {**SMALL, "groups": [2, 6]}
    known = Spec.load(name).parameters
    preset = "q2" if "q2" in Spec.load(name).presets else None
    model = create_model(name, preset=preset, **{key: value for key, value in sizes.items() if key in known})
    assert model.architecture
    spec = model.to_spec()
    made = spec.elaborate()
    assert (spec.name, made.model, made.id) == (name, model.architecture.model, model.architecture.id)
    assert made.training == model.architecture.training
    again = build_model(made)
    again.load_state_dict(model.state_dict())
    assert copy.deepcopy(again).to_spec().text == spec.text


@settings(max_examples=20)
@given(st.lists(st.sampled_from(["conv", "gdn", "relu"]), max_size=4), st.integers(1, 3), st.booleans())
def test_built_in_python_and_given_back(names: list[str], times: int, bare: bool) -> None:
    parts = [b.conv(out=4 + b.var("i"), stride=1) if name == "conv" else b.node(name) for name in names]
    g_a = b.conv(out=4) if bare else [b.conv(out=4), b.repeat(times, parts, as_="i")]
    spec = b.spec("small", b.autoencoder(g_a=g_a, latent_codec="entropy_bottleneck", g_s=b.deconv(out=3)))
    made = spec.elaborate()
    assert build_model(made).to_spec().elaborate() == Spec.loads(made.to_yaml()).elaborate()


def test_an_exchanged_part_is_in_the_spec() -> None:
    model = create_model("bmshj2018-factorized", **SMALL)
    model.g_a[1] = build_part("layer", "leaky_relu", Sig(8))
    model.g_a.append(build_part("layer", PART, Sig(8)))
    model.g_s.insert(0, build_part("transform", [PART, "relu"], Sig(8)))
    made = model.to_spec().elaborate()
    assert made.model["g_a"][1]["type"] == "leaky_relu"
    assert made.model["g_a"][-1] == {**PART, "version": 1, "kind": "layer", "in": 8}
    assert [part["type"] for part in made.model["g_s"][:3]] == ["conv", "relu", "deconv"]
    x = torch.rand(1, 3, 32, 32)
    assert build_model(made).eval()(x)["x_hat"].shape == x.shape
    model.g_a.append(build_part("layer", {**PART, "stride": 2}, Sig(8)))
    with pytest.raises(SpecError, match=r"<bmshj2018-factorized>:\d+:\d+: error\[C001\]"):
        model.to_spec().elaborate()


class Halves(nn.Sequential):
    """Not what its children are one after another."""


@pytest.mark.parametrize(
    ("exchange", "said"),
    [
        (lambda model: model.g_a.insert(1, nn.SiLU()), "part 'g_a.1', a SiLU, was not made from a spec"),
        (lambda model: setattr(model, "g_s", nn.Sequential(nn.Conv2d(8, 3, 1))), "part 'g_s.0', a Conv2d,"),
        (lambda model: setattr(model, "g_s", Halves(*model.g_s)), "part 'g_s', a Halves,"),
        (lambda model: setattr(model.latent_codec, "y", nn.Identity()), "part 'latent_codec.y', an? Identity,"),
        (lambda model: setattr(model.latent_codec.hyper, "h_a", nn.Identity()), "part 'latent_codec.hyper.h_a'"),
        (lambda model: setattr(model, "g_a", nn.DataParallel(model.g_a)), "part 'g_a', a DataParallel,"),
        (lambda model: model.use_coder(build_part("coder", "ans")), "part 'coder', "),
    ],
)
def test_a_part_that_no_spec_made_is_named(exchange: Callable[[Any], object], said: str) -> None:
    model = create_model("mbt2018-mean", **SMALL)
    exchange(model)
    with pytest.raises(InputError, match=said):
        model.to_spec()


class Fork(nn.Module):
    """Keeps the children that it is given."""

    def __init__(self, in_channels: int, widths: list[int], parts: list[nn.Module | None], extra: Any) -> None:
        super().__init__()
        self.parts, self.extra = nn.ModuleList(parts), extra


@component(
    "layer",
    "parts/fork",
    target=f"{__name__}:Fork",
    slots={"parts": Slot("transform", each="widths"), "extra": Slot("transform", optional=True)},
)
class ForkDeclaration:
    """A child for each width but the first."""

    widths: list[int]

    def shape(self, slots: Any, x: Sig) -> Sig:
        for k, width in list(enumerate(self.widths))[1:]:
            slots("parts", x.with_channels(width), index=k)
        return slots("extra", x)


@pytest.fixture
def _fork(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry(disabled=())
    registry.register([ForkDeclaration], namespace="parts")
    monkeypatch.setattr(tinify.registry, "_current", registry)
    monkeypatch.setitem(sys.modules, __name__, sys.modules[ForkDeclaration.__module__])


@pytest.mark.usefixtures("_fork")
@pytest.mark.parametrize("extra", [{}, {"extra": [PART, "relu"]}, {"extra": PART}])
def test_slots_for_each_element_and_empty_ones_come_back(extra: dict[str, Any]) -> None:
    fork = b.node("parts/fork", widths=[2, 4, 6], parts=[b.conv(out=2 * b.var("g")), "relu"], **extra)
    g_a = [b.conv(out=8), fork]
    spec = b.spec("fork", b.autoencoder(g_a=g_a, latent_codec="entropy_bottleneck", g_s=b.deconv(out=3), coder="ans"))
    model = build_model(spec.elaborate())
    assert model.to_spec().elaborate().model == spec.elaborate().model
    made: Any = model.g_a[1]
    made.parts[1] = build_part("transform", ["relu"], Sig(4))
    assert model.to_spec().elaborate().model["g_a"][1]["parts"]["each"][:2] == [
        None, [{"type": "relu", "version": 1, "kind": "layer", "in": 4}],
    ]  # fmt: skip
    made.parts[0] = build_part("layer", "relu", Sig(2))
    with pytest.raises(InputError, match=r"part 'g_a\.1\.parts', a ModuleList,"):
        model.to_spec()
    made.parts[0] = None
    made.parts[1] = nn.ReLU()
    with pytest.raises(InputError, match=r"part 'g_a\.1\.parts\.1', a ReLU,"):
        model.to_spec()


def test_a_model_without_a_coder_has_none_in_its_spec() -> None:
    node = {"type": "autoencoder", "g_a": PART, "latent_codec": "entropy_bottleneck", "g_s": {**PART, "out": 3}}
    with_coder, without = build_part("model", {**node, "coder": "ans"}, Sig(3)), build_part("model", node, Sig(3))
    assert with_coder.to_spec().elaborate().model["coder"]["type"] == "ans"
    with_coder.use_coder(None)
    assert with_coder.to_spec().elaborate() == without.to_spec().elaborate()
    assert without.to_spec().name == "autoencoder"


# From here on: no spec, no registered part.


class Analysis(nn.Module):
    """A researcher's own transform."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, channels, 8, stride=8)
        self.mix = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.down(x)
        return 4 * (y + torch.tanh(self.mix(y)))  # type: ignore[no-any-return]


class Synthesis(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(channels, 3, 8, stride=8)

    def forward(self, y_hat: Tensor) -> Tensor:
        return torch.sigmoid(self.up(y_hat / 4))


class Means(LatentCodec):
    """A latent codec of one's own: two halves of the channels, the second under the first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.prior, self.gaussian = EntropyBottleneck(channels // 2), GaussianConditional(None)
        self.predict = nn.Conv2d(channels // 2, channels, 1)

    def code(self, y: Tensor | None, side: Tensor | None, stream: Stream) -> Tensor:
        first, second = (None, None) if y is None else y.chunk(2, 1)
        a = stream.at("first").code(self.prior, first)
        scales, means = self.predict(a).chunk(2, 1)
        return torch.cat([a, stream.at("second").code(self.gaussian, second, scales.exp(), means)], 1)


def hyperprior(channels: int) -> HyperpriorLatentCodec:
    return HyperpriorLatentCodec(
        y=GaussianConditionalLatentCodec(quantizer="ste"),
        hyper=HyperLatentCodec(
            EntropyBottleneck(4),
            h_a=nn.Conv2d(channels, 4, 3, stride=2, padding=1),
            h_s=nn.ConvTranspose2d(4, 2 * channels, 4, stride=2, padding=1),
            quantizer="ste",
        ),
    )


@pytest.mark.parametrize("codec_of", [hyperprior, Means])
@given(st.integers(1, 2), st.integers(1, 3), st.integers(0, 100))
@settings(max_examples=10)
def test_a_pipeline_step_by_step(codec_of: Callable[[int], LatentCodec], batch: int, side: int, seed: int) -> None:
    torch.manual_seed(seed)
    g_a, codec, g_s = Analysis(6), codec_of(6).eval(), Synthesis(6)
    y = g_a(torch.rand(batch, 3, 16 * side, 32))
    packed = codec.compress(y)
    decoded = codec.decompress(packed["strings"], packed["shape"])["y_hat"]
    assert torch.equal(decoded, packed["y_hat"])
    assert torch.equal(decoded, codec(y)["y_hat"])
    assert g_s(decoded).shape == (batch, 3, 16 * side, 32)
    # The same by hand: one flow, read by the stream that is passed in.
    estimate, encode = Estimate(codec.part), Encode(codec.part)
    assert torch.equal(codec.code(y, None, estimate), codec.code(y, None, encode))
    assert encode.strings == packed["strings"]
    decode = Decode(encode.strings, encode.shape, codec.part)
    assert torch.equal(codec.code(None, None, decode), decoded)
    decode.finish()
    bits = sum(-likelihood.log2().sum().item() for likelihood in estimate.likelihoods.values())
    coded = 8 * sum(len(string) for strings in encode.strings for string in strings)
    assert coded <= 1.05 * bits + 96 * batch * len(encode.strings)


def test_down_to_the_tables_and_the_coder() -> None:
    torch.manual_seed(0)
    prior = EntropyBottleneck(4)
    y = torch.randn(2, 4, 5, 3) * 3
    y_hat, likelihoods = prior.eval()(y)
    assert (likelihoods > 0).all()
    prior.update()
    tables: CdfTables = prior.tables
    symbols = prior.quantize(y, "symbols", prior.centre(y.shape)).numpy()
    indexes = torch.arange(4, dtype=torch.int32).reshape(1, 4, 1, 1).expand(y.shape).contiguous().numpy()
    strings = tables.encode_batch(symbols, indexes)
    assert strings == prior.compress(y)
    back = torch.from_numpy(tables.decode_batch(strings, indexes))
    assert torch.equal(prior.dequantize(back, prior.centre(y.shape)), y_hat)


@pytest.mark.parametrize("codec_of", [hyperprior, Means])
def test_an_autoencoder_of_ones_own_modules(codec_of: Callable[[int], LatentCodec]) -> None:
    torch.manual_seed(0)
    model = Autoencoder(g_a=Analysis(6), latent_codec=codec_of(6), g_s=Synthesis(6))
    criterion, x = Criterion(TrainingConfig(lmbda=0.01)), torch.rand(2, 3, 32, 32)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = criterion(model(x), x)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    model.eval()
    packed = model.compress(x)
    decoded = model.decompress(packed["strings"], packed["shape"])["x_hat"]
    assert torch.equal(decoded, model.reconstruct(packed["y_hat"])["x_hat"])
    assert isinstance(model, CompressionModel)
    with pytest.raises(InputError, match="this Autoencoder was not made from a spec"):
        model.to_spec()
