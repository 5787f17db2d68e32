"""Every latent codec and entropy model of CompressAI that images need: results, gradients and strings are its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from peer import peer
from torch import Tensor, nn

import tinify.entropy_models
import tinify.latent_codecs
import tinify.layers
from tinify.coders.compat import CompatCoder
from tinify.entropy_models import EntropyModel, get_scale_table

TABLE = get_scale_table().tolist()
M, SIDE = 6, 12


Library = tuple[Any, Any, Any]
PEER: Library = (peer("latent_codecs"), peer("entropy_models"), peer("layers"))
OURS: Library = (tinify.latent_codecs, tinify.entropy_models, tinify.layers)
Build = Callable[[Any, Any, Any], Any]


def conv(into: int, out: int, kernel: int = 1, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(into, out, kernel, stride, kernel // 2)


def predict(into: int, out: int) -> nn.Sequential:
    return nn.Sequential(conv(into, 9), nn.LeakyReLU(), conv(9, out))


def checkerboard(codecs: Any, entropy: Any, layers: Any, width: int = M, side: int = SIDE, **options: Any) -> Any:
    return codecs.CheckerboardLatentCodec(
        latent_codec={"y": codecs.GaussianConditionalLatentCodec(scale_table=TABLE, quantizer="ste")},
        entropy_parameters=predict(2 * width + side, 2 * width),
        context_prediction=layers.CheckerboardMaskedConv2d(width, 2 * width, 5, padding=2, stride=1),
        **options,
    )


def hyper(codecs: Any, entropy: Any, layers: Any, quantizer: str = "noise") -> Any:
    prior = entropy.EntropyBottleneck(4)
    up = nn.Sequential(nn.ConvTranspose2d(4, SIDE, 4, 2, 1), conv(SIDE, SIDE))
    return codecs.HyperLatentCodec(entropy_bottleneck=prior, h_a=conv(M, 4, 5, 2), h_s=up, quantizer=quantizer)


def groups(codecs: Any, entropy: Any, layers: Any) -> Any:
    return codecs.ChannelGroupsLatentCodec(
        latent_codec={
            "y0": checkerboard(codecs, entropy, layers, 2),
            "y1": checkerboard(codecs, entropy, layers, 4, SIDE + 8),
        },
        channel_context={"y1": conv(2, 8, 5)},
        groups=[2, 4],
    )


def raster(codecs: Any, entropy: Any, layers: Any) -> Any:
    context = layers.MaskedConv2d(M, 2 * M, 5, padding=2, stride=1)
    return codecs.RasterScanLatentCodec(entropy.GaussianConditional(TABLE), predict(SIDE + 2 * M, 2 * M), context)


CODECS: dict[str, tuple[Build, bool]] = {
    "entropy bottleneck": (lambda c, e, _: c.EntropyBottleneckLatentCodec(channels=M), False),
    "gaussian, noise": (lambda c, e, _: c.GaussianConditionalLatentCodec(scale_table=TABLE), True),
    "gaussian, ste": (
        lambda c, e, _: c.GaussianConditionalLatentCodec(
            scale_table=TABLE, quantizer="ste", chunks=("means", "scales"), entropy_parameters=predict(SIDE, 2 * M)
        ),
        True,
    ),
    "hyper": (hyper, False),
    "hyper, ste": (lambda *library: hyper(*library, quantizer="ste"), False),
    "hyperprior": (
        lambda c, e, la: c.HyperpriorLatentCodec(
            latent_codec={"y": c.GaussianConditionalLatentCodec(scale_table=TABLE), "hyper": hyper(c, e, la)}
        ),
        False,
    ),
    "hyperprior around a checkerboard": (
        lambda c, e, la: c.HyperpriorLatentCodec(
            latent_codec={"y": checkerboard(c, e, la), "hyper": hyper(c, e, la, "ste")}
        ),
        False,
    ),
    "checkerboard": (checkerboard, True),
    "checkerboard, odd": (lambda *library: checkerboard(*library, anchor_parity="odd"), True),
    "checkerboard, one pass": (lambda *library: checkerboard(*library, forward_method="onepass"), True),
    "channel groups": (groups, True),
    "raster scan": (raster, True),
}
each = pytest.mark.parametrize(("build", "given"), CODECS.values(), ids=CODECS)


def pair_of(build: Build) -> tuple[Any, Any]:
    """The same codec of both libraries; CompressAI's comes second."""
    torch.manual_seed(0)
    theirs, ours = build(*PEER).eval(), build(*OURS).eval()
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def inputs(given: bool, batch: int = 2) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    y = 4 * torch.randn(batch, M, 6, 8, generator=generator)
    return (y, 0.5 + 2 * torch.rand(batch, SIDE, 6, 8, generator=generator)) if given else (y,)


def close(ours: Tensor, theirs: Tensor, tolerance: float) -> bool:
    gap = float((ours - theirs).detach().abs().max())
    return ours.shape == theirs.shape and gap <= tolerance * max(1e-6, float(theirs.detach().abs().max()))


def readings(out: dict[str, Any]) -> dict[str, Tensor]:
    return {**out["likelihoods"], **{key: value for key, value in out.items() if key != "likelihoods"}}


@each
@pytest.mark.parametrize("training", [False, True])
def test_results_and_gradients(build: Build, given: bool, training: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for codec in pair_of(build):
        codec.train(training)
        tensors = [tensor.requires_grad_() for tensor in inputs(given)]
        with monkeypatch.context() as patch:  # the two draw their noise in different orders
            patch.setattr(Tensor, "uniform_", lambda self, low, high: self.fill_(low + 0.8 * (high - low)))
            out = readings(codec(*tensors))
        weights = torch.Generator().manual_seed(3)
        total = sum((value * torch.rand(value.shape, generator=weights)).sum() for _, value in sorted(out.items()))
        total.backward()
        gradients = {name: parameter.grad for name, parameter in codec.named_parameters()}
        gradients |= {str(index): tensor.grad for index, tensor in enumerate(tensors)}
        masks = {f"{name}.weight": part.mask for name, part in codec.named_modules() if hasattr(part, "mask")}
        made.append((out, gradients, masks))
    (ours, our_gradients, masks), (theirs, their_gradients, _) = made
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert close(ours[name], value, 1e-5), name
    for name, gradient in their_gradients.items():
        mine = our_gradients[name]
        assert (mine is None) == (gradient is None), name
        if gradient is not None:  # CompressAI's taps outside the mask get gradients too
            assert close(mine, gradient * masks.get(name, 1), 1e-4), name


@each
def test_strings(build: Build, given: bool) -> None:
    ours, theirs = pair_of(build)
    for part in theirs.modules():
        if hasattr(part, "quantized_cdf"):
            part.update()
    for part in ours.modules():
        if isinstance(part, EntropyModel):
            part.coder = CompatCoder()
            part.update()
    here, there = dict(ours.named_buffers()), dict(theirs.named_buffers())
    assert all(torch.equal(here[name], table) for name, table in there.items() if "cdf" in name or "offset" in name)
    y, *side = inputs(given, 1 if build is raster else 2)  # CompressAI's raster scan knows no batches
    with torch.no_grad():
        mine, its = ours.compress(y, *side), theirs.compress(y, *side)
        assert mine["strings"] == [list(strings) for strings in its["strings"]]
        key = ours.result
        assert torch.equal(ours.decompress(its["strings"], its["shape"], *side)[key], mine[key])
        assert torch.equal(theirs.decompress(mine["strings"], its["shape"], *side)[key], its[key])


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("means", [False, True])
def test_entropy_models(training: bool, means: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for _, entropy, _ in (OURS, PEER):
        torch.manual_seed(0)
        bottleneck = entropy.EntropyBottleneck(M)
        gaussian = entropy.GaussianConditional(TABLE)
        y = (3 * torch.randn(2, M, 4, 5)).requires_grad_()
        scales = (0.05 + 3 * torch.rand(2, M, 4, 5)).requires_grad_()
        mean = torch.randn(2, M, 4, 5).requires_grad_()
        bottleneck.train(training)
        gaussian.train(training)
        with monkeypatch.context() as patch:
            patch.setattr(Tensor, "uniform_", lambda self, low, high: self.fill_(low + 0.8 * (high - low)))
            outs = [*bottleneck(y), *gaussian(y, scales, mean if means else None)]
        sum((out * out).sum() for out in outs).backward()
        bottleneck.loss().backward()
        named = dict(bottleneck.named_parameters())
        gradients = {name: parameter.grad for name, parameter in named.items()}
        made.append((outs, {**gradients, "y": y.grad, "scales": scales.grad, "means": mean.grad}, named))
    (ours, our_gradients, mine), (theirs, their_gradients, its) = made
    assert all(torch.equal(mine[name], parameter) for name, parameter in its.items())
    assert all(close(a, b, 1e-5) for a, b in zip(ours, theirs, strict=True))
    for name, gradient in their_gradients.items():
        assert (gradient is None) == (our_gradients[name] is None)
        assert gradient is None or close(our_gradients[name], gradient, 1e-4), name
