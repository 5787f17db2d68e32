"""The models of variable rate against CompressAI's: results, tables and strings, and where CompressAI is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peer import peer
from tinify_plugins.compressai.importing import import_checkpoint
from tinify_plugins.vbr.gained import GainHyperLatentCodec, GainHyperpriorLatentCodec
from torch import Tensor, nn

from tinify import models
from tinify.coders.compat import CompatCoder
from tinify.entropy_models import EntropyBottleneck
from tinify.latent_codecs import GaussianConditionalLatentCodec

peer_models = peer("models")

CASES = [
    ("ScaleHyperpriorVbr", {"vr_entbttlnck": False}),
    ("ScaleHyperpriorVbr", {"vr_entbttlnck": True}),
    ("MeanScaleHyperpriorVbr", {"vr_entbttlnck": False}),
    ("MeanScaleHyperpriorVbr", {"vr_entbttlnck": True}),
    ("JointAutoregressiveHierarchicalPriorsVbr", {}),
]
each = pytest.mark.parametrize(("name", "options"), CASES, ids=lambda value: str(value))


def pair_of(name: str, options: dict[str, Any]) -> tuple[Any, Any]:
    """Small models with the same weights; CompressAI's comes second."""
    torch.manual_seed(0)
    theirs = getattr(peer_models, name)(8, 12, **options).eval()
    with torch.no_grad():
        for key, parameter in theirs.named_parameters():
            if key == "g_a.6.weight":
                parameter.mul_(40)
            elif key in ("h_s.4.weight", "context_prediction.weight"):
                parameter.mul_(3)
            elif key == "h_a.4.weight":
                parameter.mul_(30)
            elif key in ("QuantABCD.4.bias", "gayn2zqstep.4.bias"):
                parameter.add_(0.1 if "Quant" in key else 1.5)
    ours = getattr(models, name).from_state_dict(theirs.state_dict()).eval()
    ours.use_coder(CompatCoder())
    return ours, theirs


def picture() -> Tensor:
    torch.manual_seed(1)
    return torch.rand(1, 3, 128, 64)


def spelt_like_ours(key: str) -> str:
    for old, new in (("_matrix", "matrices."), ("_bias", "biases."), ("_factor", "factors.")):
        key = key.replace(f"entropy_bottleneck.{old}", f"entropy_bottleneck.{new}")
    return key


@each
def test_keys_but_for_the_steps_that_have_tables(name: str, options: dict[str, Any]) -> None:
    ours, theirs = pair_of(name, options)
    there = {spelt_like_ours(key) for key in theirs.state_dict()}
    assert set(ours.state_dict()) - there == {"entropy_bottleneck.steps"}
    assert there <= set(ours.state_dict())


@each
@pytest.mark.parametrize("s", [0, 3, 7])
def test_results_and_strings_of_a_rate(name: str, options: dict[str, Any], s: int) -> None:
    ours, theirs = pair_of(name, options)
    x = picture()
    for model in (ours, theirs):
        model.update(force=True, scale=theirs.Gain[s].detach().view(1))
    with torch.no_grad():
        here, there = ours(x, stage=2, s=s), theirs(x, stage=2, s=s)
    torch.testing.assert_close(here["x_hat"], there["x_hat"], atol=1e-5, rtol=0)
    for key, likelihood in there["likelihoods"].items():
        if key == "y" or not options.get("vr_entbttlnck"):
            torch.testing.assert_close(here["likelihoods"][key], likelihood, atol=1e-5, rtol=0)
    packed, other = ours.compress(x, s=s), theirs.compress(x, stage=2, s=s)
    assert packed["strings"] == other["strings"]
    decoded = theirs.decompress(packed["strings"], packed["shape"], stage=2, s=s)["x_hat"]
    torch.testing.assert_close(
        ours.decompress(other["strings"], other["shape"], s=s)["x_hat"], decoded, atol=1e-5, rtol=0
    )


@each
def test_stage_1_is_the_plain_model(name: str, options: dict[str, Any]) -> None:
    ours, theirs = pair_of(name, options)
    plain = getattr(peer_models, name.removesuffix("Vbr"))(8, 12).eval()
    own = plain.state_dict()
    plain.load_state_dict({key: value for key, value in ours.state_dict().items() if key in own})
    for model in (ours, theirs, plain):
        model.update(force=True)
    x = picture()
    with torch.no_grad():
        here, there = ours(x, stage=1), theirs(x, stage=1)
    torch.testing.assert_close(here["x_hat"], there["x_hat"], atol=1e-5, rtol=0)
    for key, likelihood in there["likelihoods"].items():
        torch.testing.assert_close(here["likelihoods"][key], likelihood, atol=1e-5, rtol=0)
    # CompressAI's own stage 1 with a context writes longer strings than its plain model does.
    assert ours.compress(x, stage=1)["strings"] == plain.compress(x)["strings"]


@pytest.mark.parametrize("name", ["ScaleHyperpriorVbr", "MeanScaleHyperpriorVbr"])
def test_the_rate_of_a_step_is_that_of_its_interval_here_alone(name: str) -> None:
    ours, theirs = pair_of(name, {"vr_entbttlnck": True})
    gain = theirs.Gain[2].detach().view(1)
    for model in (ours, theirs):
        with torch.no_grad():
            model.h_a[4].weight.div_(6)  # within the reach of the tables
        model.update(force=True, scale=gain)
    ours.use_coder(None)  # whose strings have fewer bytes besides
    x = torch.rand(1, 3, 512, 512)
    with torch.no_grad():
        here, there = ours(x, s=2)["likelihoods"]["z"], theirs(x, stage=2, s=2)["likelihoods"]["z"]
    coded = 8 * len(ours.compress(x, s=2)["strings"][1][0])
    bits = [-float(torch.log2(likelihood).sum()) for likelihood in (here, there)]
    assert abs(bits[0] - coded) < abs(bits[1] - coded)


def test_gains_that_are_never_trained_there_are_here() -> None:
    ours, theirs = pair_of("MeanScaleHyperpriorVbr", {})
    for model in (ours, theirs):
        model.train()
        model(picture(), stage=2, s=3)["x_hat"].square().sum().backward()
    assert theirs.Gain.grad is None
    assert float(ours.Gain.grad.abs().sum()) > 0


def test_given_gains() -> None:
    codecs, hidden = peer("latent_codecs"), peer("entropy_models").EntropyBottleneck
    torch.manual_seed(0)
    parts = {"h_a": nn.Conv2d(4, 4, 1), "h_s": nn.Conv2d(4, 8, 1)}
    theirs = codecs.GainHyperpriorLatentCodec(
        latent_codec={
            "y": codecs.GaussianConditionalLatentCodec(quantizer="ste"),
            "hyper": codecs.GainHyperLatentCodec(entropy_bottleneck=hidden(4), **parts),
        }
    ).eval()
    own = EntropyBottleneck(4)
    own.load_state_dict(theirs.latent_codec["hyper"].entropy_bottleneck.state_dict())
    ours = GainHyperpriorLatentCodec(
        latent_codec={
            "y": GaussianConditionalLatentCodec(quantizer="ste"),
            "hyper": GainHyperLatentCodec(own, **parts),
        }
    ).eval()
    y, gains = 5 * torch.randn(2, 4, 6, 6), [torch.rand(4, 1, 1) + 0.5 for _ in range(4)]
    with torch.no_grad():
        here, there = ours(y, *gains), theirs(y, *gains)
    torch.testing.assert_close(here["y_hat"], there["y_hat"])
    for key, likelihood in there["likelihoods"].items():
        torch.testing.assert_close(here["likelihoods"][key], likelihood)


@each
def test_checkpoints_are_imported(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    _, theirs = pair_of(name, options)
    theirs.update(force=True)
    torch.save({"state_dict": theirs.state_dict()}, tmp_path / "theirs.pth.tar")
    model = import_checkpoint(tmp_path / "theirs.pth.tar")
    assert model.qualities == (1.0, 8.0)
    x = picture()
    packed, other = model.compress(x, quality=4.0), theirs.compress(x, stage=2, s=3)  # type: ignore[call-arg]
    if not options.get("vr_entbttlnck"):  # whose tables hold one step there
        assert packed["strings"] == other["strings"]
    decoded = model.decompress(packed["strings"], packed["shape"], quality=4.0)["x_hat"]  # type: ignore[call-arg]
    assert decoded.shape == x.shape
