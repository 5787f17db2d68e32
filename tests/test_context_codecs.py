"""Latent codecs with a context: what is decoded first helps to decode the rest, whatever the size and the nesting."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tinify.coders.compat import CompatCoder
from tinify.entropy_models import EntropyBottleneck, EntropyModel, GaussianConditional
from tinify.errors import CorruptStreamError, InputError
from tinify.latent_codecs import (
    ChannelGroupsLatentCodec,
    CheckerboardLatentCodec,
    EntropyBottleneckLatentCodec,
    Estimate,
    GaussianConditionalLatentCodec,
    HyperLatentCodec,
    HyperpriorLatentCodec,
    LatentCodec,
    RasterScanLatentCodec,
)
from tinify.latent_codecs.raster_scan import raster_order, wavefronts
from tinify.layers import CheckerboardMaskedConv2d, MaskedConv2d, conv, conv1x1

SIDE = 6
"""Channels of the side information in these tests."""


def parameters(into: int, out: int) -> nn.Sequential:
    return nn.Sequential(conv1x1(into, 7), nn.LeakyReLU(), conv1x1(7, out))


def gaussian(quantizer: str = "ste") -> GaussianConditionalLatentCodec:
    return GaussianConditionalLatentCodec(quantizer=quantizer)


def checkerboard(channels: int, side: int = SIDE, y: LatentCodec | None = None, **options: str) -> LatentCodec:
    return CheckerboardLatentCodec(
        latent_codec={"y": y or gaussian()},
        entropy_parameters=parameters(2 * channels + side, 2 * channels),
        context_prediction=CheckerboardMaskedConv2d(channels, 2 * channels, 5, padding=2),
        **options,  # type: ignore[arg-type]
    )


def raster_scan(channels: int, side: int = SIDE, kernel: int = 5) -> LatentCodec:
    return RasterScanLatentCodec(
        GaussianConditional(None),
        parameters(2 * channels + side, 2 * channels),
        MaskedConv2d(channels, 2 * channels, kernel, padding=kernel // 2),
    )


def groups_of_checkerboards(groups: list[int], side: int = SIDE, seen: str = "all") -> LatentCodec:
    given = [sum(groups[:k]) if seen == "all" or k < 3 else groups[0] + groups[k - 1] for k in range(len(groups))]
    return ChannelGroupsLatentCodec(
        {f"y{k}": checkerboard(width, side + 2 * width * (k > 0)) for k, width in enumerate(groups)},
        {f"y{k}": conv(given[k], 2 * width, 3, 1) for k, width in enumerate(groups) if k},
        groups=groups,
        seen=seen,
    )


def groups_of_all_kinds() -> LatentCodec:
    """A raster scan, Gaussians and a factorized prior, each for two channels."""
    contexts = {"y1": conv(2, 4, 3, 1), "y2": conv(4, 1, 3, 1)}
    predicted = GaussianConditionalLatentCodec(entropy_parameters=parameters(4 + SIDE, 4), quantizer="ste")
    prior = EntropyBottleneckLatentCodec(channels=2)
    return ChannelGroupsLatentCodec({"y0": raster_scan(2), "y1": predicted, "y2": prior}, contexts, groups=[2, 2, 2])


CODECS = {
    "checkerboard": lambda: checkerboard(6),
    "odd anchors": lambda: checkerboard(6, anchor_parity="odd"),
    "raster scan": lambda: raster_scan(6),
    "raster scan, 3x3": lambda: raster_scan(6, kernel=3),
    "channel groups": lambda: groups_of_checkerboards([1, 2, 3]),
    "first and last": lambda: groups_of_checkerboards([1, 1, 1, 3], seen="first_and_last"),
    "all kinds": groups_of_all_kinds,
    "raster scan in a checkerboard": lambda: checkerboard(6, y=raster_scan(6, side=12)),
    "groups in a checkerboard": lambda: checkerboard(6, y=groups_of_checkerboards([2, 4], side=12)),
}


def made(name: str) -> LatentCodec:
    torch.manual_seed(0)
    return CODECS[name]().eval()


def latent(batch: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    return 4 * torch.randn(batch, 6, height, width), 2 * torch.randn(batch, SIDE, height, width)


@pytest.mark.parametrize("compat", [False, True])
@pytest.mark.parametrize("name", CODECS)
@settings(max_examples=12)
@given(st.integers(1, 3), st.integers(1, 7), st.integers(1, 9))
def test_what_is_coded_is_decoded(name: str, compat: bool, batch: int, height: int, width: int) -> None:
    codec = made(name)
    if compat:
        for part in codec.modules():
            if isinstance(part, EntropyModel):
                part.coder = CompatCoder()
    y, side = latent(batch, height, width)
    packed = codec.compress(y, side)
    decoded = codec.decompress(packed["strings"], packed["shape"], side)["y_hat"]
    assert torch.equal(decoded, packed["y_hat"])
    assert float((decoded - y).abs().max()) <= 0.5001
    with torch.no_grad():
        out = codec(y, side)
    assert out["likelihoods"]["y"].shape == y.shape
    gap = float((out["y_hat"] - packed["y_hat"]).abs().max())
    assert gap <= (0 if name in EXACT else 1.0001)


EXACT = ("checkerboard", "odd anchors", "channel groups", "first and last")
"""Codecs whose estimate sees what the decoder will have."""


@pytest.mark.parametrize("name", EXACT)
def test_the_estimate_is_what_the_strings_take(name: str) -> None:
    codec = made(name)
    y, side = latent(1, 32, 48)
    for part in codec.modules():
        if isinstance(part, nn.Sequential):  # its last layer predicts scales of 4 and means of 0.4
            nn.init.zeros_(part[-1].weight)
            part[-1].bias.data = torch.tensor([4.0, 0.4]).repeat_interleave(len(part[-1].bias) // 2)
    with torch.no_grad():
        bits = -float(codec(y, side)["likelihoods"]["y"].log2().sum())
    coded = 8 * sum(len(string) for strings in codec.compress(y, side)["strings"] for string in strings)
    assert abs(coded - bits) <= 0.01 * bits + 64 * 8


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3, 5, 7]))
def test_a_wavefront_sees_only_what_was_coded_before(height: int, width: int, kernel: int) -> None:
    reach = kernel // 2
    when = torch.full((height, width), -1)
    for step, (rows, columns) in enumerate(wavefronts(height, width, reach + 1)):
        assert (when[rows, columns] == -1).all()
        when[rows, columns] = step
    assert (when >= 0).all()
    for row in range(height):
        for column in range(width):
            above = when[max(0, row - reach) : row, max(0, column - reach) : column + reach + 1]
            left = when[row, max(0, column - reach) : column]
            assert (above < when[row, column]).all()
            assert (left < when[row, column]).all()


def test_the_raster_is_in_order() -> None:
    assert [(int(row), int(column)) for row, column in raster_order(2, 3)] == [(r, c) for r in (0, 1) for c in range(3)]
    assert wavefronts(0, 3, 2) == wavefronts(3, 0, 2) == ()


def test_anchors_do_not_see_their_neighbours() -> None:
    codec, (y, side) = made("checkerboard"), latent(1, 4, 6)
    assert isinstance(codec, CheckerboardLatentCodec)
    changed = torch.where(codec.anchors(4, 6), y, y + 9)
    before, after = (codec(one, side)["y_hat"] for one in (y, changed))
    assert torch.equal(before[..., codec.anchors(4, 6)], after[..., codec.anchors(4, 6)])
    moved = torch.where(codec.anchors(4, 6), y + 9, y)
    one, other = (codec(given, side)["likelihoods"]["y"] for given in (y, moved))
    assert not torch.equal(one[..., ~codec.anchors(4, 6)], other[..., ~codec.anchors(4, 6)])


def test_one_pass_estimates_from_the_rounded_latent() -> None:
    codec, (y, side) = checkerboard(6, forward_method="onepass").eval(), latent(2, 4, 5)
    assert torch.equal(codec(y, side)["y_hat"], torch.round(y))
    packed = codec.compress(y, side)
    assert torch.equal(codec.decompress(packed["strings"], packed["shape"], side)["y_hat"], packed["y_hat"])
    noisy = codec.train()(y, side)["y_hat"].detach()
    assert float((noisy - y).abs().max()) <= 0.5


def test_the_composition_of_the_field() -> None:
    torch.manual_seed(0)
    codec = HyperpriorLatentCodec(
        latent_codec={
            "y": groups_of_checkerboards([2, 4], side=SIDE),
            "hyper": HyperLatentCodec(
                EntropyBottleneck(3), h_a=conv(6, 3, 3, 1), h_s=conv(3, SIDE, 3, 1), quantizer="ste"
            ),
        }
    ).eval()
    y = 4 * torch.randn(2, 6, 5, 7)
    packed = codec.compress(y)
    assert len(packed["strings"]) == 5
    assert packed["shape"] == torch.Size([5, 7])
    assert torch.equal(codec.decompress(packed["strings"], packed["shape"])["y_hat"], packed["y_hat"])
    assert set(codec(y)["likelihoods"]) == {"y", "z"}


def test_a_part_is_coded_once() -> None:
    model, y, scales = GaussianConditional(None).eval(), torch.zeros(1, 2, 2, 2), torch.ones(1, 2, 2, 2)
    left = torch.tensor([[True, False], [True, False]])
    stream = Estimate()
    assert torch.equal(stream.only(left).code(model, y + 1, scales) != 0, left.expand(1, 2, 2, 2))
    assert (stream.likelihoods["y"] == 1).eq(~left).all()
    stream.only(~left).code(model, y, scales)
    for again in (stream, stream.only(left)):
        with pytest.raises(InputError, match="coded twice"):
            again.code(model, y, scales)


@pytest.mark.parametrize("name", CODECS)
def test_damage_is_named_or_gives_other_values(name: str) -> None:
    codec, (y, side) = made(name), latent(1, 4, 5)
    packed = codec.compress(y, side)
    with pytest.raises(CorruptStreamError, match="no strings are left"):
        codec.decompress(packed["strings"][:-1], packed["shape"], side)
    with pytest.raises(CorruptStreamError, match="left over"):
        codec.decompress([*packed["strings"], [b""]], packed["shape"], side)
    with pytest.raises(CorruptStreamError):
        codec.decompress([[string[:-2] for string in strings] for strings in packed["strings"]], packed["shape"], side)


def test_wrong_parts_are_refused() -> None:
    with pytest.raises(InputError, match="MaskedConv2d of mask type 'A'"):
        RasterScanLatentCodec(GaussianConditional(None), nn.Identity(), nn.Conv2d(2, 4, 5, padding=2))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="mask type 'A'"):
        RasterScanLatentCodec(GaussianConditional(None), nn.Identity(), MaskedConv2d(2, 4, 5, padding=2, mask_type="B"))
    with pytest.raises(InputError, match="nothing but what comes before"):
        RasterScanLatentCodec(GaussianConditional(None), nn.Identity(), CheckerboardMaskedConv2d(2, 4, 5, padding=2))
    with pytest.raises(InputError, match="expected a masked convolution"):
        CheckerboardLatentCodec(y=gaussian(), context_prediction=nn.Identity())
    with pytest.raises(InputError, match="anchor_parity 'both'"):
        checkerboard(2, anchor_parity="both")
    with pytest.raises(InputError, match="forward_method 'three'"):
        checkerboard(2, forward_method="three")
    with pytest.raises(InputError, match="need a latent codec each"):
        ChannelGroupsLatentCodec({"y0": gaussian()}, {}, groups=[1, 1])
    with pytest.raises(InputError, match="seen 'some'"):
        ChannelGroupsLatentCodec({"y0": gaussian()}, {}, groups=[1], seen="some")
    with pytest.raises(InputError, match="y has 5 channels"):
        groups_of_checkerboards([2, 4])(torch.zeros(1, 5, 2, 2), torch.zeros(1, SIDE, 2, 2))
    for name in ("checkerboard", "raster scan"):
        with pytest.raises(InputError, match="needs the side information"):
            made(name)(torch.zeros(1, 6, 2, 2))
