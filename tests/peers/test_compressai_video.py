"""Scale-space flow against CompressAI's: keys, frames, likelihoods, gradients, strings both ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peer import peer
from tinify_plugins.compressai.importing import import_checkpoint
from tinify_plugins.video.scale_space import gaussian_volume
from torch import Tensor

from tinify.coders.compat import CompatCoder
from tinify.models import ScaleSpaceFlow  # type: ignore[attr-defined]

peer_class = peer("models.video").ScaleSpaceFlow


@pytest.fixture(scope="module")
def pair() -> tuple[Any, Any]:
    """Models with the same weights; CompressAI's comes second."""
    torch.manual_seed(0)
    theirs = peer_class().eval()
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if name.endswith("encoder.6.weight"):
                parameter.mul_(20)
            elif "hyper_encoder.4.weight" in name:
                parameter.mul_(10)
            elif "motion_decoder.6" in name:
                parameter.mul_(3)
            elif "decoder_scale.deconv3.bias" in name:
                parameter.add_(1)
    ours = ScaleSpaceFlow.from_state_dict(theirs.state_dict()).eval()
    ours.use_coder(CompatCoder())
    for model in (ours, theirs):
        model.update(force=True)
    return ours, theirs


def clip() -> list[Tensor]:
    torch.manual_seed(1)
    return [torch.rand(2, 3, 128, 256) for _ in range(3)]


def test_keys(pair: tuple[Any, Any]) -> None:
    ours, theirs = pair
    here, there = ({key: value.shape for key, value in model.state_dict().items()} for model in pair)
    assert here == there
    theirs.load_state_dict(ours.state_dict())


def test_frames_and_likelihoods(pair: tuple[Any, Any]) -> None:
    ours, theirs = pair
    with torch.no_grad():
        here, there = ours(clip()), theirs(clip())
    for a, b in zip(here["x_hat"], there["x_hat"], strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)
    for mine, other in zip(here["likelihoods"], there["likelihoods"], strict=True):
        assert mine.keys() == other.keys()
        for part, latents in other.items():
            for name, likelihood in latents.items():
                torch.testing.assert_close(mine[part][name], likelihood, atol=1e-5, rtol=0)


def test_strings_both_ways(pair: tuple[Any, Any]) -> None:
    ours, theirs = pair
    (mine, my_shapes), (other, their_shapes) = ours.compress(clip()), theirs.compress(clip())
    assert mine == other
    assert my_shapes == their_shapes
    crossed = zip(ours.decompress(other, their_shapes), theirs.decompress(mine, my_shapes), strict=True)
    for a, b in crossed:
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


def test_a_checkpoint_is_imported(pair: tuple[Any, Any], tmp_path: Path) -> None:
    _, theirs = pair
    torch.save({"epoch": 3, "state_dict": theirs.state_dict()}, tmp_path / "checkpoint.pth.tar")
    model = import_checkpoint(tmp_path / "checkpoint.pth.tar")
    assert model.architecture is not None
    assert (model.architecture.name, model.architecture.parameters) == ("ssf2020", {"N": 128, "M": 192})
    strings, _ = theirs.compress(clip())
    flat = [*reversed(strings[0])]
    for frame in strings[1:]:
        flat += [*reversed(frame["motion"]), *reversed(frame["residual"])]
    assert model.compress(clip())["strings"] == flat


def test_gradients(pair: tuple[Any, Any]) -> None:
    for model in pair:
        model.zero_grad()
        out = model([frame[:1, :, :, :128] for frame in clip()[:2]])  # each further warp multiplies rounding
        sum(x.square().mean() for x in out["x_hat"]).backward()
    ours, theirs = ({name: one.grad for name, one in model.named_parameters()} for model in pair)
    names = {f"hyper_decoder_scale.{2 * k}.": f"hyper_decoder_scale.deconv{k + 1}." for k in range(3)}
    for name, grad in ours.items():
        for own, other in names.items():
            name = name.replace(own, other)
        if grad is not None and theirs[name] is not None:
            assert float((grad - theirs[name]).abs().max()) <= 1e-4 * float(theirs[name].abs().max()) + 1e-9


def test_scale_space() -> None:
    x = torch.rand(1, 3, 128, 192)
    torch.testing.assert_close(gaussian_volume(x, 1.5, 5), peer_class.gaussian_volume(x, 1.5, 5), atol=1e-5, rtol=0)


def test_neighbours() -> None:
    from tinify_plugins.pointcloud.sets import query_ball_point

    xyz = torch.rand(2, 60, 3)
    theirs = peer("layers.pointcloud.pointnet2")._query_ball_point_yanx27(0.3, 8, xyz, xyz[:, :9])
    assert torch.equal(query_ball_point(0.3, 8, xyz, xyz[:, :9]), theirs)
