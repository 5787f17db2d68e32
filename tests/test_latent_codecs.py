"""One flow, three readings: what estimate, encode and decode have in common."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tinify.entropy_models import EntropyBottleneck
from tinify.errors import CorruptStreamError, InputError
from tinify.latent_codecs import (
    ChannelConditionalLatentCodec,
    EntropyBottleneckLatentCodec,
    GaussianConditionalLatentCodec,
    HyperLatentCodec,
    HyperpriorLatentCodec,
    LatentCodec,
    Stream,
)
from tinify.layers import conv, deconv


def hyperprior(channels: int = 6, quantizer: str = "ste", means: bool = True) -> HyperpriorLatentCodec:
    torch.manual_seed(0)
    chunks = ("scales", "means") if means else ("scales",)
    return HyperpriorLatentCodec(
        latent_codec={
            "y": GaussianConditionalLatentCodec(quantizer=quantizer, chunks=chunks),
            "hyper": HyperLatentCodec(
                EntropyBottleneck(4),
                h_a=conv(channels, 4, 5, 2),
                h_s=deconv(4, len(chunks) * channels, 5, 2),
                quantizer=quantizer,
                magnitude=not means,
            ),
        }
    ).eval()


@given(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5), st.booleans())
def test_hyperprior_decodes_what_it_coded(batch: int, height: int, width: int, means: bool) -> None:
    codec = hyperprior(means=means)
    y = torch.randn(batch, 6, 2 * height, 2 * width) * 5
    packed = codec.compress(y)
    decoded = codec.decompress(packed["strings"], packed["shape"])
    assert torch.equal(decoded["y_hat"], packed["y_hat"])
    assert torch.equal(codec(y)["y_hat"], packed["y_hat"])


def test_results_have_the_fields_form() -> None:
    codec, y = hyperprior(), torch.randn(2, 6, 8, 4)
    out = codec(y)
    assert set(out) == {"y_hat", "likelihoods"}
    assert {name: t.shape for name, t in out["likelihoods"].items()} == {"y": (2, 6, 8, 4), "z": (2, 4, 4, 2)}
    packed = codec.compress(y)
    y_strings, z_strings = packed["strings"]
    assert len(y_strings) == len(z_strings) == 2
    assert packed["shape"] == torch.Size([4, 2])
    alone = codec.hyper.compress(y)
    assert set(alone) == {"params", "strings", "shape"}
    assert alone["strings"] == [z_strings]
    assert set(codec.hyper(y)["likelihoods"]) == {"z"}


def test_strings_are_as_long_as_the_likelihoods_say() -> None:
    codec, y = hyperprior(), torch.randn(1, 6, 64, 64) * 3
    with torch.no_grad():  # scales near the truth, or escapes are cheaper than the likelihood's lower bound
        codec.hyper.h_s.bias.copy_(torch.tensor([3.0, 0.0]).repeat_interleave(6))  # type: ignore[attr-defined]
    packed = codec.compress(y)
    with torch.no_grad():
        likelihoods = codec(y)["likelihoods"].values()
    bits = -sum(float(torch.log2(likelihood).sum()) for likelihood in likelihoods)
    coded = 8 * sum(len(string) for strings in packed["strings"] for string in strings)
    # A scale is rounded up to the next table entry, which costs a little on top of the ideal.
    assert bits * 0.98 <= coded <= bits * 1.02 + 64 * 8


def test_noise_trains_and_straight_through_rounds() -> None:
    y = torch.randn(1, 6, 8, 8, requires_grad=True)
    for quantizer in ("noise", "ste"):
        codec = hyperprior(quantizer=quantizer).train()
        out = codec(y)
        loss = out["y_hat"].sum() - sum(torch.log(likelihood).sum() for likelihood in out["likelihoods"].values())
        loss.backward()
        trained = [(name, p) for name, p in codec.named_parameters() if not name.endswith("quantiles")]
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for _, p in trained)


def test_bottleneck_alone_needs_only_its_shape() -> None:
    codec = EntropyBottleneckLatentCodec(EntropyBottleneck(3)).eval()
    y = torch.randn(2, 3, 5, 4) * 10
    packed = codec.compress(y)
    assert packed["shape"] == torch.Size([5, 4])
    assert torch.equal(codec.decompress(packed["strings"], packed["shape"])["y_hat"], packed["y_hat"])


class Halves(LatentCodec):
    """A stranger's codec: the two halves of the channels, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = EntropyBottleneck(2), EntropyBottleneck(2)

    def code(self, y: Tensor | None, side: Tensor | None, stream: Stream) -> Tensor:
        parts = (None, None) if y is None else y.chunk(2, 1)
        first = stream.at("first").code(self.first, parts[0])
        return torch.cat([first, stream.at("second").code(self.second, parts[1])], 1)


def test_a_strangers_codec_gets_all_readings_from_its_flow() -> None:
    codec, y = Halves().eval(), torch.randn(2, 4, 3, 3) * 8
    packed = codec.compress(y)
    assert torch.equal(codec.decompress(packed["strings"], packed["shape"])["y_hat"], codec(y)["y_hat"])
    assert len(codec(y)["likelihoods"]) == 2


class Twice(LatentCodec):
    """Two parts, both after all others, or both under one name."""

    def __init__(self, names: tuple[str, str]) -> None:
        super().__init__()
        self.names = names
        self.first, self.second = EntropyBottleneck(2), EntropyBottleneck(2)

    def code(self, y: Tensor | None, side: Tensor | None, stream: Stream) -> Tensor:
        parts = (None, None) if y is None else y.chunk(2, 1)
        first = stream.at(self.names[0], last=True).code(self.first, parts[0])
        return torch.cat([first, stream.at(self.names[1], last=True).code(self.second, parts[1])], 1)


def test_parts_marked_last_decode_in_their_order() -> None:
    codec, y = Twice(("a", "b")).eval(), torch.randn(2, 4, 3, 3) * 8
    packed = codec.compress(y)
    assert torch.equal(codec.decompress(packed["strings"], packed["shape"])["y_hat"], packed["y_hat"])


def test_two_parts_of_one_name_are_refused() -> None:
    codec, y = Twice(("a", "a")).eval(), torch.randn(2, 4, 3, 3)
    for reading in (codec, codec.compress):
        with pytest.raises(InputError, match="coded twice"):
            reading(y)


def channel_conditional(channels: int = 8, groups: int = 4) -> ChannelConditionalLatentCodec:
    torch.manual_seed(0)
    codec = ChannelConditionalLatentCodec(GaussianConditionalLatentCodec(), channels, groups, hidden=6)
    for parameter in codec.context.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return codec.eval()


@given(st.integers(1, 2), st.integers(1, 6), st.integers(1, 6), st.sampled_from([2, 4, 8]))
def test_channel_groups_decode_what_they_coded(batch: int, height: int, width: int, groups: int) -> None:
    codec = channel_conditional(groups=groups)
    y, side = torch.randn(batch, 8, height, width) * 4, torch.rand(batch, 16, height, width) * 3
    packed = codec.compress(y, side)
    assert len(packed["strings"]) == groups
    decoded = codec.decompress(packed["strings"], packed["shape"], side)
    assert torch.equal(decoded["y_hat"], packed["y_hat"])
    with torch.no_grad():
        assert torch.equal(codec(y, side)["y_hat"], packed["y_hat"])


def test_an_untrained_context_changes_nothing_and_a_group_sees_only_those_before() -> None:
    fresh = ChannelConditionalLatentCodec(GaussianConditionalLatentCodec(), 8, 4).eval()
    y, side = torch.randn(1, 8, 5, 5) * 4, torch.rand(1, 16, 5, 5) * 3
    with torch.no_grad():
        whole = GaussianConditionalLatentCodec().eval()(y, side)
        assert torch.equal(fresh(y, side)["y_hat"], whole["y_hat"])
        codec, changed = channel_conditional(), y.clone()
        changed[:, 4:6] += 9
        before, after = (codec(latent, side)["likelihoods"]["y"].split(2, 1) for latent in (y, changed))
    assert [torch.equal(one, other) for one, other in zip(before, after, strict=True)] == [True, True, False, False]


def test_bad_strings_are_named() -> None:
    codec, y = hyperprior(), torch.randn(1, 6, 8, 8)
    packed = codec.compress(y)
    with pytest.raises(CorruptStreamError, match="no strings are left"):
        codec.decompress(packed["strings"][1:], packed["shape"])
    with pytest.raises(CorruptStreamError, match="left over"):
        codec.decompress([packed["strings"][0], [b""], packed["strings"][1]], packed["shape"])
    with pytest.raises(InputError, match="strings for a batch of"):
        codec.decompress([packed["strings"][0] * 2, packed["strings"][1]], packed["shape"])
    with pytest.raises(InputError, match="NaN"):
        codec.compress(torch.full((1, 6, 8, 8), torch.nan))


def test_wrong_parts_are_named() -> None:
    with pytest.raises(InputError, match="'y' and 'hyper'"):
        HyperpriorLatentCodec(latent_codec={"y": EntropyBottleneckLatentCodec(EntropyBottleneck(3))})
    with pytest.raises(InputError, match="chunks"):
        GaussianConditionalLatentCodec(chunks=("means",))
    with pytest.raises(InputError, match="side information"):
        GaussianConditionalLatentCodec()(torch.zeros(1, 2, 2, 2))


@pytest.mark.parametrize("moved", [False, True])
def test_what_is_trained_with_rounded_values_is_coded_on_the_same_grid(moved: bool) -> None:
    bottleneck = EntropyBottleneck(4)
    with torch.no_grad():
        for bias in bottleneck.biases:
            bias += 0.7  # a density whose medians lie between the integers
        if moved:
            bottleneck.solve_quantiles()
    codec = HyperLatentCodec(bottleneck, nn.Identity(), nn.Identity(), quantizer="ste")
    y = 5 * torch.randn(2, 4, 6, 5)
    trained = codec.train()(y)["params"].detach()
    packed = codec.eval().compress(y)
    assert torch.equal(trained, packed["params"])
    assert torch.equal(trained, codec.decompress(packed["strings"], packed["shape"])["params"])
